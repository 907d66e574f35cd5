"""The API: one thin module per service, message to domain and back, and the table of methods."""

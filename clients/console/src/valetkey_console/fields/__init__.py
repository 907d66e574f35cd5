"""What people type into fields and addresses, as the values that the client takes."""

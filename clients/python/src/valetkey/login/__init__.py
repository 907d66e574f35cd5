"""Log-ins of people: at the issuer that the broker names, kept for each broker, renewed by themselves."""

"""Logging in at an issuer: where, and by which answers. The flow itself is the client's, as `valetkey login` has it."""

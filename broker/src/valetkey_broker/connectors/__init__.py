"""Connectors: registering, verifying, listing what they reach."""

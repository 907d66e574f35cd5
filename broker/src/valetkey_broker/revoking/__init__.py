"""Revoking: what it would hit, refusing what is to come, and ending what is out by the keys that signed it."""

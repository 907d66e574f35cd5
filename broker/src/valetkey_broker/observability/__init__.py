"""Logging: structured lines that say who, what and how long, and never a secret."""

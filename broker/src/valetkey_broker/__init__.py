"""Valet Key's server: keeps long-lived credentials in Vault and hands out short-lived SAS tokens."""

__version__ = "0.1.0"

"""The real Azurite and the control-plane stand-in, one Azurite per test module."""

from support.azure_stack import azure, azurite

__all__ = ["azure", "azurite"]

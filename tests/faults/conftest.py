"""The real Azurite and the control-plane stand-in, one Azurite for each test process."""

from support.azure_stack import azure, azurite

__all__ = ["azure", "azurite"]

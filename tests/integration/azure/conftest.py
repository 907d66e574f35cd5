"""The real Azurite and the control-plane stand-in, one Azurite for each test process."""

from support.azure_stack import azure, azurite
from support.azurite_files import files

__all__ = ["azure", "azurite", "files"]

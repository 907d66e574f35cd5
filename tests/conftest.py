"""Fixtures that every test may ask for."""

from support.stack import dev_stack

__all__ = ["dev_stack"]

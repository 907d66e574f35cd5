"""What the images need that ZenML builds for the active stack."""

from zenml.client import Client

print(sorted(Client().active_stack.requirements()))

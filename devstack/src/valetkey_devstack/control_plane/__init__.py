"""A stand-in for Azure's control plane, which has no part that runs offline: Entra's token endpoint,
Graph and ARM.

It checks what Entra and Azure Resource Manager check and answers with their codes and shapes; it can be told
to fail. For development and tests only: its people are made up, and its tokens open nothing but
the dev stack.
"""

from valetkey_devstack.control_plane.client_assertions import FederatedCredential
from valetkey_devstack.control_plane.faults import Step
from valetkey_devstack.control_plane.server import ControlPlane

__all__ = ["ControlPlane", "FederatedCredential", "Step"]

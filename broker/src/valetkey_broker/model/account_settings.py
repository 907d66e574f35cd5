"""What of a storage account's settings decides whether tokens for it work."""

from dataclasses import dataclass
from enum import Enum


class PolicyAction(Enum):
    """What an account does about a token that breaks a policy of its; the value is Azure's word."""

    NONE = "None"
    LOG = "Log"
    BLOCK = "Block"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """The settings as Azure Resource Manager shows them; None where it does not say.

    `longest_sas` is how many seconds there may be between start and end of a SAS, with what is done about longer ones;
    `user_bound` is what is done about user delegation SAS that are not bound to a user.
    """

    hierarchical_namespace: bool | None = None
    shared_key_access: bool | None = None
    longest_sas: int | None = None
    longest_sas_action: PolicyAction = PolicyAction.LOG
    user_bound: PolicyAction = PolicyAction.NONE
    public_network: bool | None = None
    only_named_networks: bool | None = None

"""An account's settings out of what Azure Resource Manager says, whatever that is."""

from hypothesis import given
from hypothesis import strategies as st

from valetkey_broker.adapters.azure.account_settings import settings_of
from valetkey_broker.model.account_settings import AccountSettings, PolicyAction


def test_all_of_them() -> None:
    """ARM's names and words, as its reference has them."""
    properties = {
        "isHnsEnabled": True,
        "allowSharedKeyAccess": False,
        "publicNetworkAccess": "Disabled",
        "networkAcls": {"defaultAction": "Deny", "ipRules": []},
        "sasPolicy": {
            "sasExpirationPeriod": "1.02:03:04",
            "expirationAction": "Block",
            "requireUserBoundUserDelegationSas": True,
            "requireUserBoundUserDelegationSasAction": "Block",
        },
    }
    assert settings_of({"name": "x", "properties": properties}) == AccountSettings(
        hierarchical_namespace=True,
        shared_key_access=False,
        longest_sas=93_784,
        longest_sas_action=PolicyAction.BLOCK,
        user_bound=PolicyAction.BLOCK,
        public_network=False,
        only_named_networks=True,
    )


def test_what_is_left_out_is_not_known() -> None:
    """ARM says null, or nothing, of what nobody has set."""
    assert settings_of({}) == AccountSettings()
    assert settings_of({"properties": {"allowSharedKeyAccess": None, "sasPolicy": None}}) == AccountSettings()
    asked = {"requireUserBoundUserDelegationSas": False, "requireUserBoundUserDelegationSasAction": "Block"}
    assert settings_of({"properties": {"sasPolicy": asked}}).user_bound is PolicyAction.NONE


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["properties", "sasPolicy", "networkAcls"]), inner),
)


@given(account=st.dictionaries(st.sampled_from(["name", "properties"]), _JSON))
def test_nothing_makes_it_stumble(account: dict[str, object]) -> None:
    """An answer is input: what is not as it should be is not known."""
    assert isinstance(settings_of(account), AccountSettings)

"""The least-privilege policy that the broker runs under, as it ships with the package."""

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files

_RULE = re.compile(r'path "([^"]+)" \{\s*capabilities = \[([^\]]*)\]')
# Good to have: without it the broker cannot say when its own login ends.
_OPTIONAL = "auth/approle/"
# Stands for a name where a rule ends in an asterisk.
_ANY_NAME = "any-name"


def broker_policy(mount: str = "valetkey") -> str:
    """Returns the policy, in HCL, for a KV v2 engine mounted at `mount`."""
    text = files("valetkey_broker.adapters.vault").joinpath("policy.hcl").read_text(encoding="utf-8")
    return text.replace('path "valetkey/', f'path "{mount}/')


def needed(mount: str) -> Mapping[str, frozenset[str]]:
    """Returns what the broker has to be able to do, by path; one name stands for all names of a folder."""
    rules = _RULE.findall(broker_policy(mount))
    return {
        path.replace("*", _ANY_NAME): frozenset(re.findall(r"[a-z]+", capabilities))
        for path, capabilities in rules
        if not path.startswith(_OPTIONAL)
    }


def lacking(mount: str, granted: Mapping[str, Iterable[str]]) -> Mapping[str, str]:
    """Returns what is missing in `granted` (capabilities by path), in words, by the path of its rule."""
    found = {}
    for path, wanted in needed(mount).items():
        has = set(granted.get(path, ()))
        if (missing := wanted - has) and "root" not in has:
            found[path.replace(_ANY_NAME, "*")] = ", ".join(sorted(missing))
    return found

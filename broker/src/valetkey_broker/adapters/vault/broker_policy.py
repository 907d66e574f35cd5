"""The least-privilege policy that the broker runs under, as it ships with the package."""

from importlib.resources import files


def broker_policy(mount: str = "valetkey") -> str:
    """Returns the policy, in HCL, for a KV v2 engine mounted at `mount`."""
    text = files("valetkey_broker.adapters.vault").joinpath("policy.hcl").read_text(encoding="utf-8")
    return text.replace('path "valetkey/', f'path "{mount}/')

"""Signs tokens twice, with our layouts and with the SDK's own functions, for tests/integration/azure/test_layouts.py.

It runs in an environment that has the SDK and nothing of the broker's other dependencies: of the broker only the model
and the one module that signs are loaded. One request a line of JSON in, one line out: the two tokens.
"""

import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from azure.storage import blob, filedatalake

from valetkey_broker.model import (
    CloudProfile,
    Container,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
    Secret,
    SigningKey,
)


def _module(path: Path) -> ModuleType:
    """Loads one module without the package that it is in."""
    spec = importlib.util.spec_from_file_location("sas", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sas"] = module
    spec.loader.exec_module(module)
    return module


def _delegation_key(asked: dict[str, Any]) -> blob.UserDelegationKey:
    key = blob.UserDelegationKey()
    key.signed_oid, key.signed_tid = asked["oid"], asked["tid"]
    key.signed_start, key.signed_expiry = "2027-01-14T00:00:00Z", "2027-01-16T00:00:00Z"
    key.signed_service, key.signed_version, key.value = "b", "2025-01-05", asked["key"]
    return key


def _ours(sas: ModuleType, asked: dict[str, Any], udk: blob.UserDelegationKey | None) -> str:
    account, name = asked["account"], asked["container"]
    profile = CloudProfile("any", "https://a", "", "https://{account}.b", correlation_id=asked["correlated"])
    container = Container(account, name, profile.container_url(account, name))
    scope = Scope.of_container(container)
    if asked["kind"] != "container":
        scope = Scope.of_path(container, asked["path"], directory=asked["kind"] == "directory")
    signer = (
        sas.account_key_signer(account, Secret(asked["key"]))
        if udk is None
        else sas.user_delegation_signer(account, udk)
    )
    request = SasRequest(
        profile=profile,
        scope=scope,
        permissions=PermissionSet(Permission(letter) for letter in asked["letters"]),
        starts=asked["starts"],
        expires=asked["expires"],
        source_ip=asked["ip"],
        key=SigningKey(account, asked["starts"], asked["expires"], signer),
    )
    (signed,) = sas.sign(request, [asked["lease"]])
    token: str = signed.sas_token
    return token


def _theirs(asked: dict[str, Any], udk: blob.UserDelegationKey | None) -> list[str]:
    """Returns the token of each function of the SDK that makes one for that scope."""
    path, place = asked["path"], (asked["account"], asked["container"])
    common: dict[str, Any] = {
        "permission": "".join(each.value for each in Permission if each.value in asked["letters"]),
        "start": datetime.fromtimestamp(asked["starts"], UTC),
        "expiry": datetime.fromtimestamp(asked["expires"], UTC),
        "ip": asked["ip"] or None,
        "protocol": "https",
    }
    if udk is not None and asked["correlated"]:
        common["correlation_id"] = asked["lease"]
    credential: Any = udk or asked["key"]
    of_blob = {**common, **({"user_delegation_key": udk} if udk is not None else {"account_key": asked["key"]})}
    if asked["kind"] == "container":
        return [
            blob.generate_container_sas(*place, **of_blob),
            filedatalake.generate_file_system_sas(*place, credential=credential, **common),
        ]
    if asked["kind"] == "directory":
        return [filedatalake.generate_directory_sas(*place, path, credential=credential, **common)]
    directory, _, name = path.rpartition("/")
    return [
        blob.generate_blob_sas(*place, path, **of_blob),
        filedatalake.generate_file_sas(*place, directory, name, credential=credential, **common),
    ]


def main() -> None:
    """Answers until the input ends."""
    sas = _module(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        udk = _delegation_key(asked) if asked["delegated"] else None
        answer = {"ours": _ours(sas, asked, udk), "theirs": _theirs(asked, udk)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Tokens of a FakeBroker that the real Azurite of a test takes."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from support.azure_stack import ML, AzureStack, make_connector, make_credential
from support.cloud_containers import container_scope
from valetkey.v1 import token_service_pb2 as token_pb
from valetkey_broker.model import Permission, PermissionSet, SasRequest

CONTAINER = "demo-zenmlartifactstore"
KNOWN = ("api_key_file", "ca_file", "endpoint")
"""What a client takes of a FakeBroker, to find it and to be known there."""


async def signer(azure: AzureStack) -> Callable[[token_pb.IssueTokenRequest, datetime, datetime], str]:
    """Returns what a FakeBroker signs tokens with that this Azurite knows."""
    now = int(time.time())
    key = await azure.cloud.signing_key(make_connector(), make_credential(), ML, starts=now - 900, expires=now + 3600)
    wanted = SasRequest(
        azure.profile, container_scope(azure.profile, ML, CONTAINER), PermissionSet(Permission), now, now, "", key
    )

    def sign(request: token_pb.IssueTokenRequest, start: datetime, end: datetime) -> str:
        _ = request
        # Whole seconds, of which a token of three should not lose one: it is renewed when one is left.
        times = {"starts": max(int(start.timestamp()), now - 900), "expires": math.ceil(end.timestamp())}
        (signed,) = azure.cloud.sign(replace(wanted, **times), ["l"])
        return signed.sas_token

    return sign

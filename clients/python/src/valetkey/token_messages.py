"""Tokens as the broker's answers hold them."""

from datetime import UTC

from valetkey import enums_and_times
from valetkey.errors import ValetKeyError, code_name, from_detail
from valetkey.token_values import Resource, Token
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import token_service_pb2 as token_pb


def token(message: token_pb.IssueTokenResponse) -> Token:
    """Returns the token of an answer."""
    return Token(
        lease_id=message.lease_id,
        resource=resource(message.resource),
        permissions=enums_and_times.permissions(message.permissions),
        start_time=message.start_time.ToDatetime(UTC),
        expire_time=message.expire_time.ToDatetime(UTC),
        connector=message.connector,
        credential_version=message.credential_version,
        sas_token=message.sas_token,
        ttl_limited_by=enums_and_times.to_word(enums_and_times.TTL_LIMIT, message.ttl_limited_by),
        grant=message.grant,
        answer_time=enums_and_times.moment(message, "answer_time"),
    )


def token_or_error(message: token_pb.IssueTokenResult) -> Token | ValetKeyError:
    """Returns what became of one of several requests."""
    if message.WhichOneof("result") == "token":
        return token(message.token)
    return from_detail(message.error.detail, message.error.message, code_name(message.error.code))


def resource(message: common_pb.Resource) -> Resource:
    """Returns one resource."""
    return Resource(
        resource_type=enums_and_times.to_word(enums_and_times.RESOURCE_TYPE, message.resource_type),
        resource_id=message.resource_id,
        account=message.account,
        url=message.url,
    )

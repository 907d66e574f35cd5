"""Errors of single accounts, beside what the others answered."""

from collections.abc import Iterable

from valetkey.v1 import errors_pb2
from valetkey_broker.connectors.reach_result import AccountError
from valetkey_broker.rpc.current_call import caller, current_call
from valetkey_broker.rpc.error_status import detail, told_to


def account_error_messages(errors: Iterable[AccountError]) -> list[errors_pb2.AccountError]:
    """Returns the errors as messages, in the caller's words. They name accounts: not for consumers."""
    request_id = current_call.get().request_id
    messages = []
    for each in errors:
        told = told_to(caller(), each.error)
        messages.append(
            errors_pb2.AccountError(account=each.account, error=detail(told, request_id), message=told.message)
        )
    return messages

"""What an answer of Azure's services means: whether another try makes sense, and whose it is to mend.

Source: https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes and the pages on blobs and on
Azure Resource Manager beside it. Whether a reason passes by itself, its status code says (rpc/error_status.py).
"""

from collections.abc import Mapping
from http import HTTPStatus

from valetkey_broker.errors import Reason

_BY_CODE: Mapping[str, Reason] = {
    # Passing, whatever the status.
    "ServerBusy": Reason.CLOUD_THROTTLED,
    "TooManyRequests": Reason.CLOUD_THROTTLED,
    "OperationTimedOut": Reason.CLOUD_UNAVAILABLE,
    "InternalError": Reason.CLOUD_UNAVAILABLE,
    "AccountBeingCreated": Reason.CLOUD_UNAVAILABLE,
    "ContainerBeingDeleted": Reason.CLOUD_UNAVAILABLE,
    # Of Graph: two changed one object at once.
    "Directory_ConcurrencyViolation": Reason.CLOUD_UNAVAILABLE,
    # The token was not accepted.
    "AuthenticationFailed": Reason.CLOUD_CREDENTIAL_REJECTED,
    "InvalidAuthenticationInfo": Reason.CLOUD_CREDENTIAL_REJECTED,
    "NoAuthenticationInformation": Reason.CLOUD_CREDENTIAL_REJECTED,
    "ExpiredAuthenticationToken": Reason.CLOUD_CREDENTIAL_REJECTED,
    # Accepted, and not allowed.
    "AccountIsDisabled": Reason.CLOUD_PERMISSION_MISSING,
    "PublicAccessNotPermitted": Reason.CLOUD_PERMISSION_MISSING,
}
_BY_STATUS: Mapping[int, Reason] = {
    HTTPStatus.UNAUTHORIZED: Reason.CLOUD_CREDENTIAL_REJECTED,
    HTTPStatus.FORBIDDEN: Reason.CLOUD_PERMISSION_MISSING,
    HTTPStatus.NOT_FOUND: Reason.RESOURCE_NOT_FOUND,
    HTTPStatus.GONE: Reason.RESOURCE_NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: Reason.CLOUD_UNAVAILABLE,
    HTTPStatus.TOO_EARLY: Reason.CLOUD_UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.CLOUD_THROTTLED,
}


def outcome(status: int, code: str, *, asks_to_wait: bool = False) -> Reason:
    """Returns the reason for an HTTP status with Azure's own error code ("" where there was none).

    `asks_to_wait` says whether the answer names a time after which to try again. What nobody knows of the 4xx is
    final: the same question gets the same answer.
    """
    if code in _BY_CODE:
        return _BY_CODE[code]
    if asks_to_wait and status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Reason.CLOUD_THROTTLED
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Reason.CLOUD_REQUEST_REFUSED if refused else Reason.CLOUD_UNAVAILABLE

"""What a broker says to callers who are nobody yet: where they log in."""

from pathlib import Path

from valetkey.callers.base import Terms
from valetkey.callers.blocking import BlockingCaller
from valetkey.calls.base import Asking, ask
from valetkey.identity import Identity
from valetkey.login.login_offer import LoginOffer
from valetkey.v1 import login_service_pb2 as pb


class _Nobody(Identity):
    """Shows nothing."""

    def __post_init__(self) -> None:
        """Takes it that there is none."""


def caller_without_identity(endpoint: str, ca_file: Path | None, timeout: float) -> BlockingCaller:
    """Returns what makes calls that need no identity. Raises as `Client` does; `timeout` is in seconds."""
    return BlockingCaller(Terms(endpoint, _Nobody(), ca_file, timeout))


def login_offers() -> Asking[tuple[LoginOffer, ...]]:
    """Returns where people log in, in the broker's order; nothing where it offers no log-in."""
    answer = yield from ask(pb.GetLoginSettingsRequest(), pb.GetLoginSettingsResponse, repeatable=True)
    return tuple(
        LoginOffer(each.issuer, each.client_id, tuple(each.scopes), each.audience, each.send_audience)
        for each in answer.issuers
    )

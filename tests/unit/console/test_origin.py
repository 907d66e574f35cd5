"""Which requests count as ours, by what browsers say of them."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from valetkey_console.safety.origin import OwnOrigin

_OURS = "https://console.test"
_NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def _receive() -> Message:
    raise AssertionError("nothing is read of a request to tell where it comes from")


def asked(
    method: str, headers: dict[str, str], *, kind: str = "http", hosts: tuple[str, ...] = ("console.test",)
) -> int:
    """Returns the status of the answer; that of the console itself is 200."""
    statuses: list[int] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        statuses.append(200)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    sent = [(name.encode(), value.encode()) for name, value in {"host": "console.test", **headers}.items()]
    scope = {"type": kind, "method": method, "headers": sent}
    asyncio.run(OwnOrigin(app, (_OURS,), hosts)(scope, _receive, send))
    (status,) = statuses
    return status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", "origin": _OURS}, 200),
        ({"sec-fetch-site": "same-origin", "origin": _OURS.upper()}, 200),
        ({"sec-fetch-site": "same-origin"}, 403),
        ({"origin": _OURS}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 403),
        ({"sec-fetch-site": "same-site", "origin": _OURS}, 403),
        ({"sec-fetch-site": "none", "origin": _OURS}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.test", **_NAVIGATION}, 403),
        ({}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_change_comes_from_a_page_of_ours(method: str, headers: dict[str, str], status: int) -> None:
    """The browser says both, the site and the origin; where either is missing or another's, nothing is changed."""
    assert asked(method, headers) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "none", **_NAVIGATION}, 200),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
        ({"sec-fetch-site": "cross-site", **_NAVIGATION}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "document"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_is_shown_by_itself_only(method: str, headers: dict[str, str], status: int) -> None:
    """A link may lead here from anywhere; frames, pictures and scripts of other sites get nothing."""
    assert asked(method, headers) == status


def test_another_name_of_this_host_is_not_ours() -> None:
    """A name that leads to a loopback address makes pages that look like ours; behind a proxy the names are its own."""
    headers = {"host": "rebound.test", "sec-fetch-site": "same-origin", "origin": _OURS}
    for method in ("GET", "POST"):
        assert asked(method, headers) == 403
        assert asked(method, headers, hosts=()) == 200
    assert asked("GET", {"host": "CONSOLE.TEST"}) == 200


def test_what_is_no_request_is_left_to_the_console() -> None:
    """Its start and its end pass by, whatever they look like."""
    assert asked("POST", {}, kind="lifespan") == 200

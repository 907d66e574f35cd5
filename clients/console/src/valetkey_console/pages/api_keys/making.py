"""A new key, and another secret for one that is there. Keys are made here; the broker only gets their SHA-256.

The page that answers the form is the only place where a key stands: no address leads to it, no browser may keep it, and
it goes with the first click.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from starlette.datastructures import FormData
from starlette.responses import Response

from valetkey import (
    ApiKey,
    DeadlineExceededError,
    UnavailableError,
    ValetKeyError,
    api_key_sha256,
    generate_api_key,
)
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import wrong
from valetkey_console.pages.api_keys.one import key_of
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.visit import Visit

ROLES = (
    ("admin", "admin: everything"),
    ("operator", "operator: manages connectors, secrets and rotations"),
    ("viewer", "viewer: sees connectors and resources"),
    ("auditor", "auditor: reads the ledger, grants and leases"),
)
LIVES = (("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("180", "180 days"), ("366", "366 days"))
OVERLAPS = (
    ("0", "no time: it stops working now"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("48", "2 days"),
    ("168", "7 days"),
)
_DEFAULT_DAYS = "90"
_DEFAULT_HOURS = "1"
_NOT_SENT = {"name": "", "days": _DEFAULT_DAYS}


async def show_create(visit: Visit) -> Response:
    """Shows the form for a new key."""
    return _create_form(visit, {**_NOT_SENT, "name": visit.query.get("name", "")[:63]}, ())


async def create(visit: Visit) -> Response:
    """Makes a key, has the broker admit it, and shows it this once."""
    form = await visit.form()
    said = {"name": str(form.get("name", "")).strip(), "days": _one_of(form, "days", LIVES, _DEFAULT_DAYS)}
    roles = tuple(str(each) for each in form.getlist("roles"))
    key = generate_api_key()
    ends = datetime.now(UTC) + timedelta(days=int(said["days"]))

    async def admit() -> ApiKey:
        if not said["name"]:
            raise wrong("name", "nothing is entered; expected one such as trainer")
        return await visit.broker.create_api_key(
            said["name"], roles=roles, key_sha256=api_key_sha256(key), expire_time=ends
        )

    return await _shown_once(visit, admit, key, said["name"], lambda failure: _create_form(visit, said, roles, failure))


async def show_rotate(visit: Visit) -> Response:
    """Shows the form for another secret."""
    return _rotate_form(visit, await key_of(visit.broker, visit.name()))


async def rotate(visit: Visit) -> Response:
    """Gives a key another secret, and shows it this once."""
    form = await visit.form()
    hours = _one_of(form, "hours", OVERLAPS, _DEFAULT_HOURS)
    kept = await key_of(visit.broker, visit.name())
    key = generate_api_key()

    async def change() -> ApiKey:
        return await visit.broker.rotate_api_key(
            kept.name, key_sha256=api_key_sha256(key), overlap=timedelta(hours=int(hours))
        )

    return await _shown_once(visit, change, key, kept.name, lambda failure: _rotate_form(visit, kept, hours, failure))


async def _shown_once(
    visit: Visit,
    change: Callable[[], Awaitable[ApiKey]],
    key: str,
    name: str,
    again: Callable[[Failure], Response],
) -> Response:
    try:
        made = await change()
    except (UnavailableError, DeadlineExceededError) as error:
        # The broker may have admitted it all the same: then it is worth keeping.
        return visit.render(
            "api_keys/made.html", status=503, key=key, name=name, made=None, failure=failure_on_page(error)
        )
    except ValetKeyError as error:
        return again(failure_on_page(error))
    return visit.render("api_keys/made.html", key=key, name=name, made=made, failure=None)


def _create_form(
    visit: Visit, said: dict[str, str], roles: tuple[str, ...], failure: Failure | None = None
) -> Response:
    words = [word for role in roles for word in ("--role", role)]
    line = command("valetkey", "api-key", "create", *words, "--ttl", f"{said['days']}d", of=said["name"] or "NAME")
    return visit.render(
        "api_keys/create.html",
        typed=said,
        roles=roles,
        all_roles=ROLES,
        lives=LIVES,
        failure=failure,
        line=line,
    )


def _rotate_form(visit: Visit, key: ApiKey, hours: str = _DEFAULT_HOURS, failure: Failure | None = None) -> Response:
    line = command("valetkey", "api-key", "rotate", "--overlap", f"{hours}h", of=key.name)
    return visit.render(
        "api_keys/rotate.html",
        key=key,
        hours=hours,
        overlaps=OVERLAPS,
        failure=failure,
        line=line,
        action=f"/api-keys/of/{segment(key.name)}/rotate",
    )


def _one_of(form: FormData, name: str, choices: tuple[tuple[str, str], ...], default: str) -> str:
    sent = str(form.get(name, default))
    return sent if sent in dict(choices) else default

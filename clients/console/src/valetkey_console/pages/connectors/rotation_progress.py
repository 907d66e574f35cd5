"""How a rotation goes on, watched: its address shows the same after a reload, and to whoever is sent it."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey.rotation_values import Rotation
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit

# What it does in each state, in order, and what is in use meanwhile.
_STEPS = {
    "obtaining": "The new credential is being created",
    "proving": "The new credential is being tested; the old one is in use",
    "switching": "The new credential works and is being put into use",
    "waiting": "The new credential is in use; the old one stays valid",
    "withdrawing": "The new credential is in use; the old one is being removed",
    "undoing": "The rotation is being undone; the old credential is in use",
    "done": "The new credential is in use",
    "failed": "The rotation failed; the old credential is in use",
    "aborted": "The rotation was aborted; the old credential is in use",
}
_BACK = {
    "proving": "The earlier credential is being tested; the current one stays in use until it works",
    "switching": "The earlier credential works and is being put into use",
    "undoing": "The rollback is being undone; the current credential stays in use",
    "done": "The earlier credential is in use again",
    "failed": "The rollback failed; the current credential stays in use",
    "aborted": "The rollback was aborted; the current credential stays in use",
}
# Until then it can be taken back.
_BEFORE_THE_SWITCH = ("obtaining", "proving")


async def show(visit: Visit) -> Response:
    """Shows the rotation that is under way, or the last one. Raises NotFoundError where there was none."""
    return _page(visit, "connectors/rotation.html", await visit.broker.get_rotation(visit.name()))


async def show_part(visit: Visit) -> Response:
    """Shows the same as a part; where the broker cannot be asked just now, one that asks again."""
    try:
        rotation = await visit.broker.get_rotation(visit.name())
    except ValetKeyError as error:
        return _page(visit, "connectors/rotation_part.html", None, failure_on_page(error, reading=True))
    return _page(visit, "connectors/rotation_part.html", rotation)


def _page(visit: Visit, template: str, rotation: Rotation | None, failure: Failure | None = None) -> Response:
    steps = {**_STEPS, **(_BACK if rotation is not None and rotation.source == "rollback" else {})}
    return visit.render(
        template,
        status=200,  # Also without an answer of the broker: a part that failed would not ask again.
        name=visit.name(),
        rotation=rotation,
        failure=failure,
        doing=steps.get(rotation.state, rotation.state) if rotation is not None else "",
        abortable=rotation is not None and rotation.state in _BEFORE_THE_SWITCH and visit.may(OPERATORS),
        operates=visit.may(OPERATORS),
        line=command("valetkey", "service-connector", "rotate", "--status", of=visit.name()),
        abort_line=command("valetkey", "service-connector", "rotate", "--abort", of=visit.name()),
    )

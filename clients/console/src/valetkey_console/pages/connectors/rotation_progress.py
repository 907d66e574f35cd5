"""How a rotation goes on, watched: its address shows the same after a reload, and to whoever is sent it."""

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey.rotations import Rotation
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.visits.rendering import command
from valetkey_console.visits.roles import OPERATORS
from valetkey_console.visits.visit import Visit

# What it does in each state, in order, and what is in use meanwhile.
_STEPS = {
    "obtaining": "the new credential is being made",
    "proving": "the new credential is tried, the old one is in use",
    "switching": "the new credential works, and is put in place",
    "waiting": "the new credential is in use, the old one stays good",
    "withdrawing": "the new credential is in use, the old one is removed",
    "undoing": "what was done is taken back, the old credential is in use",
    "done": "the new credential is in use",
    "failed": "it came to nothing, the old credential is in use",
    "aborted": "it was taken back, the old credential is in use",
}
_BACK = {
    "proving": "the credential of before is tried, the one in use stays until it works",
    "switching": "the credential of before works, and is put in place again",
    "undoing": "the rollback is taken back, the credential in use stays",
    "done": "the credential of before is in use again",
    "failed": "it came to nothing, the credential in use stays",
    "aborted": "the rollback was taken back, the credential in use stays",
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
        return _page(visit, "connectors/rotation_part.html", None, failure_on_page(error))
    return _page(visit, "connectors/rotation_part.html", rotation)


def _page(visit: Visit, template: str, rotation: Rotation | None, failure: Failure | None = None) -> Response:
    steps = {**_STEPS, **(_BACK if rotation is not None and rotation.source == "rollback" else {})}
    return visit.render(
        template,
        name=visit.name(),
        rotation=rotation,
        failure=failure,
        doing=steps.get(rotation.state, rotation.state) if rotation is not None else "",
        abortable=rotation is not None and rotation.state in _BEFORE_THE_SWITCH and visit.may(OPERATORS),
        operates=visit.may(OPERATORS),
        line=command("valetkey", "service-connector", "rotate", "--status", of=visit.name()),
        abort_line=command("valetkey", "service-connector", "rotate", "--abort", of=visit.name()),
    )

"""How often a credential is rotated by itself."""

from starlette.responses import Response

from valetkey import Connector, ValetKeyError
from valetkey.rotation_values import RotationSchedule
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import duration, wrong
from valetkey_console.pages.connectors.credential_form import typed_text
from valetkey_console.pages.connectors.credential_maker_choices import makers_for
from valetkey_console.pages.connectors.draft import text_of
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.visit import Visit


async def show(visit: Visit) -> Response:
    """Shows the form as the schedule is."""
    connector = await visit.broker.get_connector(visit.name())
    schedule = connector.rotation_schedule
    every = f"{int(schedule.every.total_seconds())}s" if schedule else ""
    if schedule and not schedule.every.total_seconds() % 86_400:
        every = f"{schedule.every.days}d"
    return await _page(visit, connector, {"every": every, "by": schedule.by if schedule else ""})


async def schedule(visit: Visit) -> Response:
    """Sets the schedule, or ends it."""
    name, form = visit.name(), await visit.form()
    try:
        if text_of(form, "do") == "end":
            await visit.broker.set_rotation_schedule(name, None)
            return visit.redirect(f"/connectors/{segment(name)}", said=f"{name} is no longer rotated on a schedule.")
        every = duration(text_of(form, "every"), "every")
        if every is None:
            raise wrong("every", "nothing is given; expected a duration such as 30d")
        await visit.broker.set_rotation_schedule(name, RotationSchedule(every, text_of(form, "by")))
    except ValetKeyError as error:
        failure = failure_on_page(error)
        connector = await visit.broker.get_connector(name)
        return await _page(visit, connector, typed_text(form), failure=failure)
    return visit.redirect(f"/connectors/{segment(name)}", said=f"{name} is rotated on this schedule from now on.")


async def _page(visit: Visit, connector: Connector, typed: dict[str, str], failure: Failure | None = None) -> Response:
    words = ["valetkey", "service-connector", "update", "--rotate-every", typed.get("every") or "30d"]
    words += ["--rotate-by", typed["by"]] if typed.get("by") else []
    return visit.render(
        "connectors/schedule.html",
        connector=connector,
        makers=await makers_for(visit, connector),
        typed=typed,
        failure=failure,
        line=command(*words, of=connector.name),
    )

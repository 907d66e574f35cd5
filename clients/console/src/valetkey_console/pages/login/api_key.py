"""Logging in by an API key, where the settings allow it."""

from starlette.responses import Response

from valetkey import UnauthenticatedError, ValetKeyError
from valetkey_console.broker.failures import failure_of
from valetkey_console.fields.parsing import wrong
from valetkey_console.pages.login.login_page import page
from valetkey_console.pages.login.session_begin_and_end import begin
from valetkey_console.visits.visit import Visit

# Longer than every key; whatever else was pasted is not sent to the broker.
_MOST = 200
_NO_KEY = "this is not an API key; expected vk_ followed by 43 letters, digits, _ or -."
_NOT_ALLOWED = "This console takes no API keys (setting api_key_login)."
_UNKNOWN = "The broker does not know this key: it is mistyped, revoked or expired."


async def log_in(visit: Visit) -> Response:
    """Takes the form of the log-in page."""
    if not visit.console.settings.api_key_login:
        return await page(visit, "/", status=403, problem=_NOT_ALLOWED)
    form = await visit.form()
    key, back = str(form.get("api_key", "")).strip(), str(form.get("next", "/"))
    if not key.isascii() or not key.isprintable() or " " in key or not 0 < len(key) <= _MOST:
        return await page(visit, back, status=400, failure=failure_of(wrong("api_key", _NO_KEY)))
    try:
        return await begin(visit, key, back)
    except UnauthenticatedError:
        return await page(visit, back, status=401, problem=_UNKNOWN)
    except ValetKeyError as error:
        failure = failure_of(error)
        return await page(visit, back, status=failure.status, problem=f"{failure.title}: {failure.message}")

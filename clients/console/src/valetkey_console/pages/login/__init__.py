"""Logging in and out."""

from valetkey_console.openid.log_ins import CALLBACK
from valetkey_console.pages.login import api_key, issuer, login_page, session_begin_and_end
from valetkey_console.visits.routing import Section, get, post

SECTION = Section(
    "login",
    (
        get("/login", login_page.show, session=False),
        post("/login", api_key.log_in, session=False),
        get("/login/at", issuer.leave, session=False),
        get(CALLBACK, issuer.come_back, session=False),
        get(f"{CALLBACK}/{{issuer}}", issuer.come_back, session=False),
        post("/logout", session_begin_and_end.log_out, session=False),
    ),
)

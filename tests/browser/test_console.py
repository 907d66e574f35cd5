"""The console in a real browser: what people do with it, and how it looks to those who cannot see it well."""

import re
from typing import Any

import grpc
import pytest

from support.console_tabs import tab
from support.console_thread import ConsoleThread
from support.inproc import ADMIN_KEY, AUDITOR_KEY, CLIENT, CONSUMER_KEY, OPERATOR_KEY, TENANT, Broker, bearer
from valetkey.v1 import token_service_pb2

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600)]

PAGES = (
    "/",
    "/connectors",
    "/connectors/azure-blob-demo",
    "/resources",
    "/grants",
    "/grants/training",
    "/new-grant",
    "/register/azure/service-principal",
    "/explain",
    "/leases",
    "/revocations",
    "/audit",
    "/audit/tail",
    "/audit/verify",
    "/api-keys",
    "/api-keys/new",
    "/api-keys/of/admin/revoke",
)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 360)])
def test_every_page_can_be_read_by_all(chromium: Any, console: ConsoleThread, scheme: str, width: int) -> None:
    """No serious fault, nothing refused by the policy, nothing wider than the window."""
    with tab(chromium, console, color_scheme=scheme, viewport={"width": width, "height": 900}) as opened:
        opened.open("/")
        faults = {"/login": (opened.serious_faults(), opened.overflow())}
        opened.log_in(ADMIN_KEY)
        for path in PAGES:
            assert opened.open(path).status == 200, path
            opened.page.wait_for_load_state("networkidle" if "tail" not in path else "load")
            faults[path] = (opened.serious_faults(), opened.overflow())
        opened.open("/audit/verify")
        opened.page.get_by_role("button", name="Verify now").click()
        opened.page.get_by_text("The ledger is intact").wait_for()
        faults["verified"] = (opened.serious_faults(), opened.overflow())
        assert {path: found for path, found in faults.items() if found[0] or found[1] > 0} == {}


def test_a_grant_that_explains_a_refusal(chromium: Any, console: ConsoleThread) -> None:
    """Why somebody is refused, and by what grant another is not."""
    with tab(chromium, console) as opened:
        opened.log_in(AUDITOR_KEY, "/explain")
        for principal, told in (("key:stranger", "no"), ("key:trainer", "allows")):
            opened.open("/explain")
            opened.page.get_by_role("textbox", name="Principal").fill(principal)
            opened.page.get_by_role("textbox", name="Resource").fill("az://demo")
            opened.page.locator("input[name=permissions][value=read]").check()
            opened.page.get_by_role("button", name="Explain").click()
            finding = opened.page.locator("li", has=opened.page.locator("a[href='/grants/training']")).first
            finding.wait_for()
            assert finding.locator(".state").inner_text() == told


def test_searching_changes_the_list_and_the_address(chromium: Any, console: ConsoleThread) -> None:
    """Without a click; the address leads to the same again, and the back button to before."""
    with tab(chromium, console) as opened:
        opened.log_in(ADMIN_KEY, "/grants")
        opened.page.get_by_role("searchbox").fill("nothing-fits-this")
        opened.page.get_by_text("Nothing matches").wait_for()
        opened.page.wait_for_url("**q=nothing-fits-this*")
        opened.page.reload()
        opened.page.get_by_text("Nothing matches").wait_for()
        opened.page.go_back()
        opened.page.get_by_role("link", name="training").wait_for()


def test_what_comes_is_shown_by_itself(chromium: Any, console: ConsoleThread) -> None:
    """A change made elsewhere appears on the page that follows the ledger."""

    async def change(broker: Broker) -> None:
        await broker.allow("key:seen-live", name="seen-live")

    with tab(chromium, console) as opened:
        opened.log_in(AUDITOR_KEY, "/audit/tail")
        opened.page.locator("ol.records").wait_for()
        console.run(change)
        opened.page.get_by_text("grants/seen-live").first.wait_for()


def test_following_says_when_nothing_comes(chromium: Any, console: ConsoleThread) -> None:
    """What failed stays told while the page asks again, until it is answered; so does that nothing answers at all."""
    news = "**/audit/tail/news*"
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(AUDITOR_KEY, "/audit/tail")
        page.get_by_text("As of").wait_for()
        failure = page.locator("#failure .note")
        page.route(news, lambda route: route.continue_(url=f"{console.url}/audit/tail/news?since=never"))
        failure.wait_for()
        # The next time is under way, and has no answer yet.
        held: list[Any] = []
        page.route(news, lambda route: held.append(route))  # noqa: PLW0108 (playwright marks what it is given)
        while not held:
            page.wait_for_timeout(50)
        assert failure.is_visible()
        page.unroute_all()  # and lets it go on
        failure.wait_for(state="detached")
        page.route(news, lambda route: route.abort())
        page.get_by_text("The console does not answer").wait_for()
        assert "It asks again by itself." in failure.inner_text()
        page.unroute_all()
        failure.wait_for(state="detached")
        opened.forgive("ERR_FAILED", "Failed to fetch")


def test_a_form_that_nobody_answers(chromium: Any, console: ConsoleThread) -> None:
    """The page says so, and keeps what was typed."""
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(OPERATOR_KEY, "/register/azure/service-principal")
        page.locator("input[name=name]").fill("from-the-browser")
        page.route("**/register/**", lambda route: route.abort())
        page.get_by_role("button", name="Check").click()
        page.get_by_text("Nobody knows whether what you sent was done.").wait_for()
        assert page.locator("input[name=name]").input_value() == "from-the-browser"
        opened.forgive("ERR_FAILED", "Failed to fetch")


def test_a_session_that_ends_amid_a_form(chromium: Any, console: ConsoleThread) -> None:
    """What was typed stays; one logs in beside it, and sends the same again."""
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(OPERATOR_KEY, "/register/azure/service-principal")
        page.locator("input[name=name]").fill("amid-a-form")
        page.context.clear_cookies()
        page.get_by_role("button", name="Check").click()
        with page.expect_popup() as beside:
            page.get_by_role("link", name="Log in in another tab").click()
        beside.value.get_by_label("API key").fill(OPERATOR_KEY)
        beside.value.get_by_role("button", name="Log in").last.click()
        beside.value.wait_for_url(f"{console.url}/")
        page.get_by_role("button", name="Check").click()
        page.locator("#outcome .note").wait_for()
        assert page.locator("#failure .note").count() == 0
        assert page.locator("input[name=name]").input_value() == "amid-a-form"


def test_a_grant_is_not_typed_twice(chromium: Any, console: ConsoleThread) -> None:
    """What is missing is said and has the focus; neither that nor the end of the session takes away what was typed."""
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(ADMIN_KEY, "/new-grant")
        page.get_by_role("textbox", name="Name").fill("typed-once")
        page.get_by_role("button", name="Create the grant").click()
        page.locator("#field-principals-problem", has_text="nothing is entered").wait_for()
        assert "Check what you entered" in page.locator(":focus").inner_text()
        page.get_by_role("textbox", name="Principals").fill("key:typed-once")
        page.get_by_label("azure-blob-demo").check()
        page.get_by_role("textbox", name="Containers").fill("demo")
        kept = page.context.cookies()
        page.context.clear_cookies()
        page.get_by_role("button", name="Create the grant").click()
        page.get_by_text("your entries are still in the form").wait_for()
        page.context.add_cookies(kept)
        page.get_by_role("button", name="Create the grant").click()
        page.wait_for_url("**/grants/typed-once")
        page.get_by_text("The grant typed-once is created and in effect.").wait_for()


def test_a_key_is_shown_once_and_copied(chromium: Any, console: ConsoleThread) -> None:
    """Made by the form; neither a reload nor the back button shows it again, and it can be revoked."""
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(ADMIN_KEY, "/api-keys/new")
        # What is missing the page says, and no bubble of the browser's; the summary has the focus.
        page.get_by_role("button", name="Create the key").click()
        page.locator("#field-name-problem", has_text="nothing is entered").wait_for()
        assert "Check what you entered" in page.locator(":focus").inner_text()
        page.get_by_label("Name").fill("from-the-browser")
        page.locator("input[name=roles][value=viewer]").check()
        page.get_by_role("button", name="Create the key").click()
        key = page.locator("code", has_text=re.compile("^vk_")).inner_text()
        # A page that is left is not kept with the key in it, whatever the browser keeps of it.
        page.evaluate("addEventListener('pagehide', () => sessionStorage.setItem('left', document.body.innerHTML))")
        page.get_by_role("link", name="I have copied it").click()
        page.wait_for_url("**/api-keys")
        left = page.evaluate("sessionStorage.getItem('left')")
        assert "from-the-browser" in left
        assert key not in left
        # The browser kept nothing of that page; it would have to send the form once more, and asks.
        with pytest.raises(Exception, match="ERR_CACHE_MISS"):
            page.go_back()
        page.wait_for_url(re.compile("^chrome-error:"))
        assert key not in page.content()
        opened.open("/api-keys/of/from-the-browser/revoke")
        page.get_by_label("Name, to confirm").fill("from-the-browser")
        page.get_by_role("button", name="Revoke from-the-browser").click()
        page.get_by_text("Revoked the API key from-the-browser.").wait_for()


def test_two_tabs_a_log_out_and_the_back_button(chromium: Any, console: ConsoleThread) -> None:
    """What one tab ends has ended in the other; nothing of it comes back from the browser's memory."""
    with tab(chromium, console) as first:
        first.log_in(ADMIN_KEY, "/grants")
        second = first.page.context.new_page()
        second.goto(f"{console.url}/api-keys")
        assert "API keys" in second.title()
        first.page.get_by_role("button", name="Log out").click()
        first.page.wait_for_url("**/login**")
        first.page.go_back()
        first.page.wait_for_url("**/login**")
        assert "training" not in first.page.content()
        second.reload()
        assert "/login" in second.url


def test_a_log_in_that_is_over_leads_back(chromium: Any, console: ConsoleThread) -> None:
    """The page says so, and after the log-in one is where one was."""
    with tab(chromium, console) as opened:
        opened.log_in(ADMIN_KEY, "/grants")
        opened.page.context.clear_cookies()
        opened.open("/grants?q=training")
        assert "/login" in opened.page.url
        opened.page.get_by_label("API key").fill(ADMIN_KEY)
        opened.page.get_by_role("button", name="Log in").last.click()
        opened.page.wait_for_url("**/grants?q=training")


def test_a_browser_that_keeps_no_cookies(chromium: Any, console: ConsoleThread) -> None:
    """It is told so before a log-in leads back to the log-in; others are not, and keep nothing of the question."""
    with tab(chromium, console) as opened:
        page = opened.page
        opened.open("/login")
        told = page.locator("#no-cookies")
        told.wait_for(state="hidden")
        page.wait_for_load_state("networkidle")
        assert not told.is_visible()
        assert page.context.cookies() == []
        page.add_init_script("Object.defineProperty(document, 'cookie', {get: () => '', set: () => {}})")
        page.reload()
        told.wait_for()


def test_registering_with_a_wrong_secret_and_then_with_the_right_one(chromium: Any, console: ConsoleThread) -> None:
    """What is wrong comes into view at the form, and all that was typed stays; then it is checked and registered."""

    async def take_only(broker: Broker, *secrets: str) -> None:
        broker.cloud.secrets = set(secrets) or None

    console.run(lambda broker: take_only(broker, "RIGHT~typed.secret"))
    try:
        with tab(chromium, console) as opened:
            page = opened.page
            opened.log_in(OPERATOR_KEY, "/register/azure/service-principal")
            page.locator("input[name=name]").fill("from-the-browser")
            page.locator("input[name='given.tenant_id']").fill("nobody")
            page.locator("input[name='given.client_id']").fill(CLIENT)
            page.locator("input[name='given.client_secret']").fill("WRONG~typed.secret")
            page.get_by_role("button", name="Check").click()
            # The summary leads to the field, which says the same to those who listen; the next try takes it back.
            page.locator("#outcome").get_by_role("link", name="Tenant ID").click()
            tenant = page.get_by_role("textbox", name="Tenant ID")
            assert tenant.evaluate("field => field === document.activeElement && field.ariaInvalid") == "true"
            assert "expected a UUID" in page.locator("#field-tenant_id-problem").inner_text()
            tenant.fill(TENANT)
            page.get_by_role("button", name="Check").click()
            page.locator("#outcome").get_by_text("CLOUD_CREDENTIAL_REJECTED").wait_for()
            page.locator("[aria-invalid]").first.wait_for(state="detached")
            assert "WRONG~typed.secret" not in page.content()
            page.locator("input[name='given.client_secret']").fill("RIGHT~typed.secret")
            page.get_by_role("button", name="Check").click()
            page.locator("#outcome").get_by_text("It works").wait_for()
            page.get_by_role("button", name="Register", exact=True).click()
            page.wait_for_url("**/connectors/from-the-browser")
            page.get_by_text("from-the-browser is registered").wait_for()
    finally:
        console.run(take_only)


def test_a_rotation_is_watched_to_its_end(chromium: Any, console: ConsoleThread) -> None:
    """Its page goes on by itself, and shows the same after a reload."""
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(OPERATOR_KEY, "/connectors/azure-blob-demo/rotate")
        page.locator("input[name='given.client_secret']").fill("ANOTHER~typed.secret")
        page.get_by_role("button", name="Rotate", exact=True).click()
        page.wait_for_url("**/connectors/azure-blob-demo/rotation")
        page.reload()
        page.locator(".state.done").first.wait_for()


def test_a_lease_is_revoked_and_the_revocation_lifted(chromium: Any, console: ConsoleThread) -> None:
    """What it would affect is said first; then its holder gets no further token, until it is lifted."""

    async def issue(broker: Broker) -> str:
        request = token_service_pb2.IssueTokenRequest(resource_id="az://demo", permissions=[1])
        answer = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
        return str(answer.lease_id)

    lease = console.run(issue)
    with tab(chromium, console) as opened:
        page = opened.page
        opened.log_in(OPERATOR_KEY, f"/leases/{lease}")
        assert page.locator(".state").inner_text() == "live"
        page.get_by_role("link", name="Revoke", exact=True).click()
        page.get_by_text("1 issued token is covered").wait_for()
        # Nothing was done by looking.
        console.run(issue)
        page.get_by_label("Reason").fill("it was in a log")
        page.get_by_role("button", name="Revoke", exact=True).click()
        page.locator("#progress .state.waiting").wait_for()
        with pytest.raises(grpc.RpcError, match="it was in a log"):
            console.run(issue)
        opened.open(f"/leases/{lease}")
        assert page.locator(".state").inner_text() == "waiting"
        page.locator("main a[href*='/revocations/']").last.click()
        page.get_by_role("link", name="Lift", exact=True).click()
        page.get_by_role("button", name="Lift the revocation").click()
        page.get_by_text("Lifted: ").wait_for()
        console.run(issue)

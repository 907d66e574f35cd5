"""What is typed and comes back in a page: of each field of the forms, and of each filter and search of the lists."""

import pytest

from support.console import Console
from support.console_pages import Page

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]
OURS = {"origin": "https://console.test", "sec-fetch-site": "same-origin"}
# Complete but for the field that is tried: the broker is to see that one.
GIVEN = {"/explain": {"resource": "az://demo"}, "/new-grant": {"name": "Not A Name"}}
FIELDS = """
GET /explain resource principal permissions connector attributes ttl source_ip
GET /new-grant resource principal permissions connector attributes ttl source_ip
GET /revoke lease_id principal grant connector resource through reason name hard
GET /resources q account connector state sort
GET /resources/one resource
GET /grants q container
GET /leases q principal resource connector grant state ended
GET /revocations q state lifted
POST /new-grant name principals connectors containers prefixes role permissions max_ttl attributes source_ip expires
POST /new-grant note labels version
POST /revoke lease_id principal grant connector resource through reason name
"""
TYPED = [
    (method, path, field)
    for method, path, *fields in (line.split() for line in FIELDS.strip().splitlines())
    for field in fields
]


@pytest.mark.parametrize(("method", "path", "field"), TYPED)
async def test_it_is_text(console: Console, method: str, path: str, field: str) -> None:
    """Markup, what cannot be seen and what is far too long; nothing is stored by it, and no fault is shown."""
    for typed in ("<x-planted onload=x>'\"</textarea></option>{{1234*4321}}", "a\u202eb\x1b[31m", "n" * 1_200):
        sent = {**GIVEN.get(path, {}), field: typed}
        if method == "GET":
            answer = await console.as_admin.http.get(path, params=sent)
        else:
            answer = await console.as_admin.http.post(path, data=sent, headers=OURS)
        assert answer.status_code in (200, 400, 404, 409), f"{answer.status_code}: {answer.text}"
        page = Page(answer.text)
        assert page.faults == []
        assert "x-planted" not in page.elements
        assert "5332114" not in answer.text

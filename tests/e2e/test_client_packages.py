"""What people use tokens with, at its newest (requirements/clients.txt), on the dev stack: with a token, nothing else.

Each client is a script of its own in client_packages/, run in an environment of its own, as in somebody's step.
"""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.e2e import Live, unique, user_environment

pytestmark = [pytest.mark.xdist_group("e2e-live"), pytest.mark.unmeasured]

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-clients" / "bin" / "python"
SCRIPTS = sorted(HERE.glob("client_packages/use_*.py"))
SECONDS = 110


@pytest.fixture(scope="module")
def token(live: Live) -> dict[str, Any]:
    """A token for a container, with all that a step operator may do."""
    connector = live.new_connector()
    permissions = "read,list,write,create,add,delete"
    issued: dict[str, Any] = live.issue("--connector", connector, "-o", "json", permissions=permissions).json
    return issued


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem.removeprefix("use_") for script in SCRIPTS])
def test_a_token_is_all_that_a_client_needs(live: Live, token: dict[str, Any], script: Path, tmp_path: Path) -> None:
    """It writes, reads, lists and copies with the client's newest release, whatever version of the API that speaks."""
    assert PYTHON.exists(), "the clients are missing: make .venv-clients/.installed"
    url = urlsplit(token["url"])
    given = {
        "ACCOUNT": token["account"],
        "CONTAINER": url.path.rpartition("/")[2],
        "FOLDER": unique("clients"),
        "SAS_TOKEN": token["sas_token"],
        "SAS_URL": token["sas_url"],
        # The emulator's account is a part of the path, so each client has to be told where it is.
        "BLOB_AUTHORITY": url.netloc,
        "BLOB_HOST": f"{url.netloc}/{token['account']}",
        "BLOB_ENDPOINT": f"https://{url.netloc}/{token['account']}",
        "SSL_CERT_FILE": str(live.stack.ca_file),
        "REQUESTS_CA_BUNDLE": str(live.stack.ca_file),
        "HOME": str(tmp_path),
    }
    others = {name: value for name, value in user_environment().items() if not name.startswith("AZURE_")}
    done = subprocess.run(
        [PYTHON, "-I", script], env={**others, **given}, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, re.sub(r"sig=[^&\s'\"]+", "sig=…", done.stdout + done.stderr)


def test_every_client_that_is_locked_is_used() -> None:
    """A client that is added to the list without a script would seem to be covered."""
    listed = (HERE.parents[1] / "requirements" / "clients.in").read_text().splitlines()
    names = {line.replace("-", "_").removesuffix("_bin") for line in listed if line and not line.startswith("#")}
    assert names == {script.stem.removeprefix("use_") for script in SCRIPTS}

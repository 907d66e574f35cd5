"""What people use tokens with, at its newest (requirements/clients.txt), on the dev stack: with a token, nothing else.

Each client is a script of its own in client_packages/, run in an environment of its own, as in somebody's step. What
`valetkey` itself brings for them is on a page, whose snippets are run there.
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
SECONDS = 280
# Where it is not the package's name.
IMPORTED = {"azure_storage_file_datalake": "azure.storage.filedatalake"}


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


def test_every_snippet_of_the_page_of_adapters_runs(live: Live, tmp_path: Path) -> None:
    """Protects whoever copies from docs/adapters.md: it runs as it stands, with tokens of 8 s, beside other keys."""
    assert PYTHON.exists(), "the clients are missing: make .venv-clients/.installed"
    name, key_file = unique("adapters"), tmp_path / "key"
    assert live.register(name).code == 0
    live.admin.done("api-key", "create", name, "--ttl", "1h", "--out", key_file)
    live.admin.done(
        *("grant", "create", name, "--principal", f"key:{name}", "--connector", name, "--container", "demo-*"),
        *("--permissions", "read,list,write,create,add,delete", "--max-ttl", "8s"),
    )
    given = {
        **live.cli(VALETKEY_API_KEY_FILE=str(key_file)).environment,
        "SSL_CERT_FILE": str(live.stack.ca_file),
        "REQUESTS_CA_BUNDLE": str(live.stack.ca_file),
        "AZURE_STORAGE_ACCOUNT_KEY": "b3RoZXI=",
        "AZURE_STORAGE_SAS_TOKEN": "sig=other",
        "AZURE_STORAGE_ANON": "true",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "HOME": str(tmp_path),
    }
    page = HERE.parents[1] / "docs" / "adapters.md"
    done = subprocess.run(
        [PYTHON, "-I", HERE / "client_packages" / "run_page.py", page],
        env={**user_environment(), **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, re.sub(r"sig=[^&\s'\"]+", "sig=…", done.stdout + done.stderr)
    assert "weights" in done.stdout


def test_every_client_that_is_locked_is_used() -> None:
    """A client that is added to the list without a script would seem to be covered."""
    listed = (HERE.parents[1] / "requirements" / "clients.in").read_text().partition("# What valetkey itself needs")[0]
    lines = listed.splitlines()
    names = {line.replace("-", "_").removesuffix("_bin") for line in lines if line and not line.startswith("#")}
    page = (HERE.parents[1] / "docs" / "adapters.md").read_text()
    on_page = {name for name in names if re.search(rf"^(import|from) {IMPORTED.get(name, name)}\b", page, re.MULTILINE)}
    assert names == {script.stem.removeprefix("use_") for script in SCRIPTS} | on_page

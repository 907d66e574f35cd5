"""The agent while it runs: what it keeps fresh, and what it does when something is away, gone or full."""

import asyncio
import errno
import os
import stat
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from support.agent_rig import agent, configure, models, soon
from valetkey.cli import proxy_options
from valetkey.errors import SettingsError
from valetkey.testing import FakeBroker


async def test_outputs_are_renewed_and_readable_for_whom_they_are(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects a pod's other containers: files of the right mode and group, with a token that is always another one."""
    (tmp_path / "in").write_text("token $sas_token until $expires\n")
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    outputs = (
        f'path = "env"\nformat = "env"\nmode = "0640"\ngroup = {group}',
        'path = "rclone.conf"\nformat = "rclone-conf"',
        'path = "all.json"\nformat = "json"',
        'path = "out"\ntemplate = "in"\nmode = "0644"\nworld_readable = true',
    )
    async with agent(fake, tmp_path, models(ttl="2s", outputs=outputs)) as running:
        await soon(lambda: running.ready)
        first = running.read("out")
        assert first.startswith("token sv=2025-07-05&st=")
        assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o640
        assert (tmp_path / "env").stat().st_gid == group
        assert stat.S_IMODE((tmp_path / "rclone.conf").stat().st_mode) == 0o600
        assert "export AZURE_STORAGE_SAS_TOKEN=" in running.read("env")
        assert running.read("rclone.conf").startswith("[valetkey]\ntype = azureblob\nsas_url = https://contoso.blob.")
        await soon(lambda: running.read("out") != first)
        await soon(lambda: running.ready)
        assert running.says(f"{tmp_path / 'out'} can be read by every user")
    assert not running.ready
    assert (tmp_path / "out").exists()
    assert "sig=fake" not in running.out.getvalue()


async def test_a_scope_is_asked_for_once(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects the broker's slots: resources that want the same share a source, others have their own."""
    other = models(outputs=('path = "b"\nformat = "url"',)).replace("az://models", "az://data")
    text = models() + models(outputs=('path = "a"\nformat = "url"',)) + other
    async with agent(fake, tmp_path, text) as running:
        await soon(lambda: running.ready)
    assert fake.calls == ["WatchToken", "WatchToken"]


async def test_a_broker_that_is_away_at_the_start_is_waited_for(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects pods that come up before their broker: a line says what is missing, and then it works."""
    fake.stop()
    (tmp_path / "ready").write_text("left by an agent that was killed")
    async with agent(fake, tmp_path, models()) as running:
        await soon(lambda: running.says("no token; trying again") and running.says(fake.endpoint))
        assert not running.ready
        fake.start()
        await soon(lambda: running.ready)
        assert running.says("there is a token again")


async def test_a_grant_that_goes_in_mid_run(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects against silence: ready while the token lives, then not, with the broker's reason."""
    async with agent(fake, tmp_path, models(ttl="3s")) as running:
        await soon(lambda: running.ready)
        fake.refuse(message="no grant lets key:fake use it")
        await soon(lambda: not running.ready)
        await soon(lambda: running.says("no grant lets key:fake use it"))
        assert "sig=fake" in running.read("sas")
        fake.allow()
        await soon(lambda: running.ready)


async def test_a_full_disk_keeps_the_old_file(
    fake: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects readers: the old file stays whole, nothing is left beside it, and readiness says that it is old."""
    real, full = os.fsync, True

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    async with agent(fake, tmp_path, models()) as running:
        await soon(lambda: running.ready)
        old = running.read("sas")
        monkeypatch.setattr(os, "fsync", fsync)
        fake.rotate()
        await soon(lambda: running.says(f"{tmp_path / 'sas'}: cannot be written: No space left on device"))
        await soon(lambda: not running.ready)
        assert running.read("sas") == old
        assert running.files() == ["agent.toml", "sas"]
        full = False
        await soon(lambda: running.ready)
        assert running.read("sas") != old


async def test_a_folder_that_is_not_there_is_waited_for(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects volumes that are mounted late; other outputs do not wait for it."""
    outputs = ('path = "late/sas"\nformat = "sas"', 'path = "sas"\nformat = "sas"')
    async with agent(fake, tmp_path, models(outputs=outputs)) as running:
        await soon(lambda: running.says(f"there is no folder {tmp_path / 'late'}"))
        await soon((tmp_path / "sas").exists)
        assert not running.ready
        (tmp_path / "late").mkdir()
        await soon(lambda: running.ready)
        (tmp_path / "sas").unlink()  # Somebody tidies up.
        await soon((tmp_path / "sas").exists)


async def test_nothing_is_written_through_a_link(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects files elsewhere from whoever may write in the folder; and beside the file, too."""
    for name in ("victim", "another"):
        (tmp_path / name).write_text("untouched")
    (tmp_path / "sas").symlink_to("victim")
    (tmp_path / ".url.valetkey-new").symlink_to("another")
    outputs = ('path = "sas"\nformat = "sas"', 'path = "url"\nformat = "url"')
    async with agent(fake, tmp_path, models(outputs=outputs)) as running:
        await soon(lambda: running.says("it is a symbolic link; expected a file, or nothing yet"))
        await soon((tmp_path / "url").exists)
        assert not running.ready
        (tmp_path / "sas").unlink()
        await soon(lambda: running.ready)
    assert {(tmp_path / name).read_text() for name in ("victim", "another")} == {"untouched"}


async def test_a_new_configuration(fake: FakeBroker, tmp_path: Path) -> None:
    """Protects running pods: a bad one changes nothing, a good one asks for no token that is there."""
    outputs = ('path = "sas"\nformat = "sas"',)
    async with agent(fake, tmp_path, "remove_on_exit = true\n" + models(outputs=outputs)) as running:
        await soon(lambda: running.ready)
        configure(tmp_path, "remove_on_exit = true\n" + models(outputs=('path = "sas"\nformat = "sass"',)))
        running.reload.set()
        await soon(lambda: running.says("agent.toml, line 9: resource.output.format: 'sass' is unknown"))
        assert running.ready
        configure(tmp_path, "remove_on_exit = true\n" + models(outputs=('path = "url"\nformat = "url"',)))
        running.reload.set()
        await soon(lambda: (tmp_path / "url").exists() and not (tmp_path / "sas").exists())
        await soon(lambda: running.says("the configuration was read again"))
        await soon(lambda: running.ready)
        assert fake.calls == ["WatchToken"]
    assert running.files() == ["agent.toml"]


async def test_a_proxy_beside_the_files(fake: FakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects tools in other containers: what leads through the proxy holds its own token, and stays as it is."""
    wrong = ["the certificate of storage is not trusted"]

    async def check(*_: object) -> None:
        if wrong:
            raise SettingsError(wrong.pop())

    monkeypatch.setattr(proxy_options, "check_certificate", check)
    outputs = ('path = "url"\nformat = "url"\nthrough_proxy = true', 'path = "sas"\nformat = "sas"')
    text = models("[resource.proxy]", "port = 0", ttl="2s", outputs=outputs)
    async with agent(fake, tmp_path, text) as running:
        await soon(lambda: running.says("is not trusted"))
        await soon(lambda: running.ready)
        url, sas = running.read("url").strip(), running.read("sas")
        assert url.startswith("http://127.0.0.1:")
        assert "sig=fake" not in url
        assert "sig=fake" in sas
        elsewhere = Request(url.replace("/models", "/others"), method="HEAD")  # noqa: S310 (loopback)
        assert await asyncio.to_thread(status, elsewhere) == 403
        # Another output more: the proxy of before goes on.
        configure(tmp_path, text + '[[resource.output]]\npath = "more"\nformat = "url"\nthrough_proxy = true\n')
        running.reload.set()
        await soon((tmp_path / "more").exists)
        assert running.read("more").strip() == url == running.read("url").strip()
        await soon(lambda: running.read("sas") != sas)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(urlopen, url)


def status(request: Request) -> int:
    """Returns the status of an answer."""
    from urllib.error import HTTPError

    try:
        with urlopen(request) as answer:  # noqa: S310 (loopback)
            return int(answer.status)
    except HTTPError as error:
        return error.code

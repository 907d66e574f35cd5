"""A real PostgreSQL for tests, on a Unix socket in a directory of its own; it ends with the process that started it."""

import asyncio
import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from valetkey_devstack.child_process import Child, halt

_USERS = ("postgres", "nobody")


class Postgres:
    """A PostgreSQL server. Everybody on its socket is its superuser `tester`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._child is not None
        return self._child.pid

    def url(self, database: str = "postgres") -> str:
        """Returns the URL of a database."""
        return f"postgresql://tester@/{database}?host={self.directory}"

    async def initialise(self) -> None:
        """Makes the data directory: a copy of one, which takes a fraction of what initdb takes."""
        command = _as_ordinary_user(["cp", "-R", "-p", await asyncio.to_thread(_new_data), self.data])
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, cwd="/")

    async def start(self) -> None:
        """Starts the server; again after `stop` or `kill`, on the same data."""
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.directory}"]
        # Dead children of a killed server hold its shared memory for a moment.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self._child = await Child.start(
            "PostgreSQL",
            _as_ordinary_user([_program("postgres"), "-D", self.data, *options]),
            log_file=self.directory / "postgres.log",
            ready=self._ready,
            cwd=Path("/"),
        )

    async def stop(self) -> None:
        """Stops the server and every connection at once."""
        if self._child is not None and self._child.poll() is None:
            os.kill(self._child.pid, signal.SIGCONT)
            os.kill(self._child.pid, signal.SIGINT)
            await self._child.stop(grace=20.0)

    def kill(self) -> None:
        """Kills the server with all its processes, as a power cut would."""
        if self._child is None or self._child.poll() is not None:
            return
        for child in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._child.kill()

    def freeze(self) -> None:
        """Halts the server with all its processes: connections stay, nothing answers."""
        for process in (self.pid, *self._children()):
            halt(process)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        for process in (self.pid, *self._children()):
            os.kill(process, signal.SIGCONT)

    async def run(self, sql: str, database: str = "postgres") -> str:
        """Runs SQL as the superuser and returns what psql prints."""
        command = [_program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def _children(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(number) for number in listed.split()]

    async def _ready(self) -> bool:
        command = [_program("pg_isready"), "-q", "-h", self.directory]
        return (await asyncio.to_thread(subprocess.run, command, check=False)).returncode == 0


@functools.cache
def _new_data() -> Path:
    """Returns the data directory of a server that was never started, made once for this process."""
    directory = _directory_of_its_own(tempfile.mkdtemp(prefix="vkpg-new-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    data = directory / "data"
    command = [_program("initdb"), "-D", data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(_as_ordinary_user(command), check=True, capture_output=True, cwd="/")
    return data


@contextlib.asynccontextmanager
async def running_postgres() -> AsyncIterator[Postgres]:
    """Gives a fresh server; ends it and removes its data afterwards."""
    # Not tmp_path: the path of a socket has about 100 characters, and pytest's directories are root's alone.
    with tempfile.TemporaryDirectory(prefix="vkpg-", ignore_cleanup_errors=True) as name:
        server = Postgres(_directory_of_its_own(name))
        await server.initialise()
        try:
            await server.start()
            yield server
        finally:
            server.kill()  # Stopping would first write out what is thrown away next.


def _directory_of_its_own(name: str) -> Path:
    """Returns a directory as PostgreSQL wants it: of the user that it runs as."""
    if os.geteuid() == 0:
        user = _ordinary_user()
        os.chown(name, user.pw_uid, user.pw_gid)
    return Path(name)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        found = max((str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    assert found is not None, f"PostgreSQL's {name} is missing: apt-get install postgresql"
    return found


def _as_ordinary_user(command: Sequence[str | Path]) -> list[str | Path]:
    """Returns the command as root has to run it: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return list(command)
    user = _ordinary_user()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # Changing the user clears the tie to the parent's life; setpriv makes it anew.
    return ["setpriv", *ids, "--pdeathsig", "KILL", *command]


def _ordinary_user() -> pwd.struct_passwd:
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError(f"none of the users {', '.join(_USERS)} is there to run PostgreSQL as")

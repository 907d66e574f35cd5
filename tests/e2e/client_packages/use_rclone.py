"""rclone: copy up, read, list, copy within the container, move."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

RCLONE = Path(sys.executable).with_name("rclone")
store = f"store:{os.environ['CONTAINER']}/{os.environ['FOLDER']}"
environment = {
    "PATH": os.environ["PATH"],
    "RCLONE_CONFIG": str(Path(tempfile.mkdtemp()) / "none.conf"),
    "RCLONE_CA_CERT": os.environ["SSL_CERT_FILE"],
    "RCLONE_CONFIG_STORE_TYPE": "azureblob",
    "RCLONE_CONFIG_STORE_SAS_URL": os.environ["SAS_URL"],
    "RCLONE_RETRIES": "1",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
}


def rclone(*arguments: str | Path) -> str:
    done = subprocess.run([RCLONE, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"rclone {arguments}: {done.stderr}"
    return done.stdout


with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "one.txt").write_text("weights")
    rclone("copyto", Path(folder) / "one.txt", f"{store}/one.txt")
assert rclone("cat", f"{store}/one.txt") == "weights"
rclone("copyto", f"{store}/one.txt", f"{store}/two.txt")
rclone("moveto", f"{store}/two.txt", f"{store}/three.txt")
assert rclone("cat", f"{store}/three.txt") == "weights"
assert sorted(rclone("lsf", store).split()) == ["one.txt", "three.txt"]

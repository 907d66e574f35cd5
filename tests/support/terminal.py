"""The command at a terminal, with somebody who answers its questions."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

from support.children import start
from support.fake_broker import API_KEY, FakeBroker

CTRL_C = object()


def at_terminal(
    broker: FakeBroker, answers: Sequence[tuple[str, str | object]], *arguments: str, **variables: str
) -> tuple[int, str, str]:
    """Runs the command, waits for each question and types its answer.

    Returns the exit code, standard output, and what the terminal showed.
    """
    leader, follower = pty.openpty()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VALETKEY_", "AZURE_"))}
    env |= {"VALETKEY_ENDPOINT": broker.endpoint, "VALETKEY_CA_FILE": str(broker.ca_file), "VALETKEY_API_KEY": API_KEY}
    process = start(
        [sys.executable, "-c", "from valetkey.cli import main; main()", *arguments],
        stdin=follower,
        stderr=follower,
        stdout=subprocess.PIPE,
        env=env | variables,
        start_new_session=True,
    )
    os.close(follower)
    killer = threading.Timer(150, process.kill)
    killer.start()
    shown = b""
    read = 0
    try:
        for question, answer in answers:
            while (found := shown.find(question.encode(), read)) < 0:
                shown += os.read(leader, 4096)
            read = found + len(question.encode())
            if answer is CTRL_C:
                process.send_signal(signal.SIGINT)
            else:
                os.write(leader, f"{answer}\n".encode())
        out, _ = process.communicate()
        while True:
            try:
                shown += os.read(leader, 4096)
            except OSError:
                break
    except OSError:
        process.wait()
        raise AssertionError(f"the command ended before {question!r} was asked:\n{shown.decode()}") from None
    finally:
        killer.cancel()
        os.close(leader)
    return process.returncode, out.decode(), shown.decode()

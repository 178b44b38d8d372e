"""A writer that is killed at any moment: what was acknowledged is there, whole and without a gap."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("AGENTRT_TEST_KILLS", "40"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_append_that_was_acknowledged_outlives_the_kill_of_its_writer(tmp_path):
    seed = random.randrange(1_000_000)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_writers.py"), tmp_path / "s.db", str(KILLS), str(seed)],
        capture_output=True,
        text=True,
        timeout=30 + KILLS,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == [], f"seed {seed}"
    assert report["kills"] == KILLS
    assert report["acknowledged"] >= KILLS

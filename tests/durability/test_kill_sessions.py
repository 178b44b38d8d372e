"""Workers killed with SIGKILL at every boundary and at random moments: no unsafe effect happens twice, nothing is lost.

``AGENTRT_KILLS`` is how many kills there are (200 by default, 1,000 nightly). What was counted is printed.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

KILLS = int(os.environ.get("AGENTRT_KILLS", "200"))
HARNESS = Path(__file__).with_name("killed_sessions.py")


def start(folder, kills, seed, kind):
    """Half of the kills, in a process of its own: a worker mostly waits for the disk."""
    folder.mkdir()
    command = [sys.executable, str(HARNESS), str(folder), str(kills), str(seed), kind]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whenever_a_worker_is_killed_no_unsafe_effect_happens_twice_and_nothing_is_lost(tmp_path):
    seed = random.randrange(1_000_000)
    halves = {kind: start(tmp_path / kind, KILLS // 2, seed, kind) for kind in ("boundaries", "moments")}
    total, wrong = Counter(), []
    for kind, process in halves.items():
        out, err = process.communicate(timeout=60 + 2 * KILLS)
        assert process.returncode == 0, f"{kind}, seed {seed}: {err}"
        report = json.loads(out)
        total.update(report["counted"])
        wrong += report["wrong"]
    print(f"seed {seed}: {json.dumps(total, indent=1)}")
    assert wrong == [], f"seed {seed}"
    assert total["kills"] >= KILLS // 2 * 2
    assert total["unsafe effects done twice"] == 0
    assert total["of these in doubt"] == 0  # a tool that can be verified leaves none
    assert total["of them in doubt"] > 0  # the kills do strike calls in flight
    assert total["found to have happened"] > 0
    assert total["found not to have happened"] > 0

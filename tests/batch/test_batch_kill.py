"""The command and its workers killed at any moment, again and again, until the batch is through."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

from agentrt.cli.signals import descendants

KILLS = int(os.environ.get("AGENTRT_TEST_BATCH_KILLS", "5"))
TASKS = 40 * KILLS


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_nothing_is_lost_or_doubled_whoever_is_killed_and_when(desktop, kit):
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    kinds = ["effect", "look", "effect"]
    desktop.tasks(*(json.dumps({"id": n, "task": f"{kinds[n % 3]} {n}"}) for n in range(TASKS)))
    command = desktop.command("--yes", "--out", "r.jsonl", "--workers", "2", "--sessions", "5")
    for _ in range(KILLS):
        with subprocess.Popen(command, cwd=desktop.work, env=desktop.environ, stderr=subprocess.DEVNULL) as batch:
            time.sleep(chance.uniform(0.5, 2.0))
            workers = descendants(batch.pid)
            victim = chance.choice([batch.pid, *workers])
            with contextlib.suppress(ProcessLookupError):  # it is through already
                os.kill(victim, signal.SIGKILL)
            if victim != batch.pid:
                time.sleep(chance.uniform(0.0, 0.5))
                batch.kill()
            batch.wait(30)
    last = desktop.run("--yes", "--out", "r.jsonl")
    assert last.returncode == 0, f"seed {seed}: {last.stderr}"
    found = [json.loads(line) for line in (desktop.work / "r.jsonl").read_text().splitlines()]
    effects = list(map(int, kit.logged("effects")))
    in_doubt = {item["id"] for item in found if "whether it took effect is unknown" in item["text"]}
    assert sorted(item["id"] for item in found) == list(range(TASKS)), f"seed {seed}"
    assert len(effects) == len(set(effects)), f"seed {seed}"
    assert set(effects) | in_doubt == {n for n in range(TASKS) if n % 3 != 1}, f"seed {seed}"
    assert all(item["text"] == f"saw {item['id']}" for item in found if item["id"] % 3 == 1), f"seed {seed}"

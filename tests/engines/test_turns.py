import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_turn_costs_the_same_at_the_end_of_a_long_session() -> None:
    command = [sys.executable, "benchmarks/turns.py", "--quick", "--only", "long", "--rounds", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["long"]
    assert max(figures["agentrt"]["growth"]) < 2.5
    assert "ratio to aiohttp" in done.stdout

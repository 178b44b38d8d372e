"""Many workers lose nothing and do nothing twice, whoever is stopped, killed or restarted.

``AGENTRT_NEMESIS_ROUNDS`` says how often (200 by hand); ``AGENTRT_NEMESIS_SEED`` repeats the choices of a run.
"""

import os
import random

import pytest
from nemesis import Nemesis, faketime

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("AGENTRT_NEMESIS_ROUNDS", "10"))


async def test_sessions_move_within_their_lease_and_a_second_and_nothing_is_lost_or_doubled(cluster, tmp_path):
    seed = int(os.environ.get("AGENTRT_NEMESIS_SEED") or random.randrange(10**6))
    found = await Nemesis(cluster, ROUNDS, seed, tmp_path).run()
    print(f"seed {seed}, {'with' if faketime() else 'without'} faketime: {found}")
    assert found["wrong"] == [], f"AGENTRT_NEMESIS_SEED={seed}"
    assert found["takeovers"] >= ROUNDS // 2
    assert sum(found["rounds"].values()) == ROUNDS


@pytest.mark.parametrize(
    ("sabotage", "seen"), [("fence", "was written by"), ("repeat", "happened 2 times")], ids=["fence", "repeat"]
)
async def test_it_would_be_noticed_if_a_zombie_could_write_or_an_unsafe_call_were_repeated(
    cluster, tmp_path, sabotage, seen
):
    for rounds in (2, 8, 24):  # a stop does not always hit a call in flight
        folder = tmp_path / str(rounds)
        folder.mkdir()
        found = await Nemesis(cluster, rounds, 1, folder, harms={"stop": 1}, sabotage=sabotage).run()
        print(found)
        if any(seen in wrong for wrong in found["wrong"]):
            return
    pytest.fail(f"{sabotage!r} went by unnoticed")

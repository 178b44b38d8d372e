"""How many cores this process may really use, for work that gains nothing from a second thread on a core."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST_CORES = 8
_CPU = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Physical cores that this process may run on, within its container's quota, from 1 to ``MOST_CORES``."""
    everything = set(range(os.cpu_count() or 1))
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else everything  # not on every system
    cores = {_siblings(number) for number in allowed}
    return max(1, min(len(cores), _quota(), MOST_CORES))


def _siblings(number: int) -> str:
    """The hardware threads that share a core with this one; itself where the system does not say."""
    try:
        return (_CPU / f"cpu{number}" / "topology" / "thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return str(number)


def _quota() -> int:
    """Cores that a cgroup (version 2, ``cpu.max``) leaves us."""
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup, or its quota is "max"
        return MOST_CORES

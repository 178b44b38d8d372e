"""House rules that a reader of one file can't see: who makes what, what nobody does, and what we depend on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from rules_kit import committed, parsed, root, sources


def called(path: Path) -> list[str]:
    """The last name of everything that a file calls."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            found.append(getattr(node.func, "attr", None) or getattr(node.func, "id", ""))
    return found


def test_checked_calls_are_made_by_the_gate_and_nobody_else() -> None:
    makers = [path.relative_to(root()).as_posix() for path in sources() if "CheckedCall" in called(path)]
    assert makers == ["agentrt/contract.py"]


@pytest.mark.parametrize("name", ["create_task", "ensure_future", "run_coroutine_threadsafe", "gather"])
def test_nobody_starts_a_task_that_nobody_waits_for(name: str) -> None:
    assert [path.relative_to(root()).as_posix() for path in sources() if name in called(path)] == []


def test_an_exception_is_caught_whole_only_with_a_reason_on_the_line() -> None:
    found = []
    for path in sources():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.match(r"\s*except( Exception\b.*)?:", line) and not re.search(r"# noqa: BLE001 - \w", line):
                found.append(f"{path.relative_to(root())}:{number}")
    assert found == []


def test_imports_follow_the_contracts() -> None:
    contracts = tomllib.loads((root() / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(contracts) >= 3
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root())
    assert done.returncode == 0, done.stdout


def closure(requirement: str) -> dict[str, Requirement]:
    """Everything that installing ``requirement`` brings, by its normal name."""
    found: dict[str, Requirement] = {}
    waiting = [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if f"{name}{sorted(wanted.extras)}" in found:
            continue
        found[f"{name}{sorted(wanted.extras)}"] = wanted
        try:
            below = requires(wanted.name) or []
        except PackageNotFoundError as error:
            raise AssertionError(f"{wanted.name} is not installed, so what it brings can't be counted") from error
        for line in below:
            item = Requirement(line)
            extras = wanted.extras or {""}
            if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(item)
    return found


def test_a_base_install_is_under_40_packages() -> None:
    names = {key.partition("[")[0] for key in closure("agentrt")} - {"agentrt"}
    assert len(names) < 40, sorted(names)


def test_nothing_that_we_ask_for_is_pinned() -> None:
    project = tomllib.loads((root() / "pyproject.toml").read_text())
    groups = project.get("dependency-groups", {}).values()
    extras = project["project"].get("optional-dependencies", {}).values()
    lines = [*project["project"]["dependencies"], *(line for group in (*groups, *extras) for line in group)]
    asked = [Requirement(line) for line in lines if isinstance(line, str)]
    assert [str(item) for item in asked if any(one.operator in ("==", "===") for one in item.specifier)] == []


# Put together here, so that this file does not contain them.
FORBIDDEN = {
    "an open end": re.compile("TO" + "DO|FIX" + "ME|X" + "XX"),
    "a registry's host": re.compile(
        r"(py" + r"pi\.org|python" + r"hosted\.org|registry\." + r"npmjs|npm" + r"js\.org)"
    ),
    "a path of somebody's machine": re.compile(r"(?<![\w.~-])/(wo" + r"rk|tm" + r"p/v|ro" + r"ot)/"),
}


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_committed_file_contains(what: str) -> None:
    found = []
    for path in committed():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(root())}:{number}: {line.strip()[:100]}")
    assert found == []

"""House rules about names: what is public is listed, documented and importable at once."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from rules_kit import SOURCES, parsed, root, sources

import agentrt


def exported() -> list[str]:
    tree = parsed(root() / "agentrt" / "__init__.py")
    imported = [
        name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    lazy = [
        item.value
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        for compare in ast.walk(node)
        if isinstance(compare, ast.Compare)
        for item in ast.walk(compare)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    return [name for name in [*imported, *lazy] if name not in ("annotations", "Any", "TYPE_CHECKING")]


def test_all_of_agentrt_is_complete() -> None:
    assert sorted(agentrt.__all__) == sorted(exported())
    for name in agentrt.__all__:
        assert getattr(agentrt, name) is not None


@pytest.mark.parametrize("path", [path for path in sources() if "__all__" in path.read_text(encoding="utf-8")], ids=str)
def test_every_list_of_names_is_sorted_and_true(path: Path) -> None:
    place = next(folder for folder in SOURCES if path.is_relative_to(root() / folder))
    base = root() if place == "agentrt" else root() / place
    module = importlib.import_module(".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"))
    assert sorted(module.__all__, key=lambda name: (not name.isupper(), not name[:1].isupper(), name)) == module.__all__
    assert all(hasattr(module, name) for name in module.__all__)


def undocumented(path: Path) -> list[str]:
    """The public names in a file that say nothing about themselves."""
    tree = parsed(path)
    found = [] if ast.get_docstring(tree) else ["(module)"]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node) and not overloads(node):
                found.append(node.name)
            if isinstance(node, ast.ClassDef):
                found += [
                    f"{node.name}.{item.name}" for item in node.body if function(item) and not ast.get_docstring(item)
                ]
    return found


def overloads(node: ast.AST) -> bool:
    return any(isinstance(item, ast.Name) and item.id == "overload" for item in getattr(node, "decorator_list", []))


def function(node: ast.AST) -> bool:
    """Whether it is a public method, which must have a docstring of its own."""
    known = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    return known and not overloads(node)


@pytest.mark.parametrize("path", sources(), ids=str)
def test_every_public_name_has_a_docstring(path: Path) -> None:
    assert undocumented(path) == []


def test_every_type_that_agentrt_exports_by_assignment_is_described_below_it() -> None:
    """``Event``, ``Permit``, ``Progress`` and the like are no classes, so a text beneath them is their docstring."""
    described = set()
    for path in (root() / "agentrt").glob("*.py"):
        body = parsed(path).body
        for node, below in zip(body, [*body[1:], None], strict=True):
            text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if isinstance(node, ast.Assign) and text:
                described |= {item.id for item in node.targets if isinstance(item, ast.Name)}
    aliases = {
        name for name in agentrt.__all__ if not getattr(getattr(agentrt, name), "__doc__", None) or name in ALIASES
    }
    assert aliases <= described


ALIASES = {"Event", "Message", "Permit", "Progress"}


def test_importing_agentrt_loads_no_sdk_no_http_client_and_no_terminal() -> None:
    heavy = ["a2a", "aiohttp", "httpx", "httpx2", "mcp", "pydantic", "pyreqwest", "ray", "rich", "sqlite3", "torch"]
    heavy += ["typer", "vllm", "xllamacpp"]
    code = f"import agentrt, sys; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root())
    assert done.stdout.split() == []


def test_importing_agentrt_says_nothing_opens_nothing_and_starts_no_thread() -> None:
    code = (
        "import sys, threading\n"
        "asked = []\n"
        "watched = ('socket.', 'subprocess.', 'os.mkdir', 'os.putenv')\n"
        "sys.addaudithook(lambda event, args: asked.append((event, args)) if event.startswith(watched) else None)\n"
        "import agentrt\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert asked == [], asked\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""House rules about sizes: a stranger reads the core in half an hour, and no file or function outgrows a look."""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from pathlib import Path

import pytest
from rules_kit import parsed, root, sources

CORE = ("types", "errors", "events", "engine", "toolset", "contract", "dispatch", "loop", "agent")
BENEATH = (
    "conversation",
    "repair",
    "feedback",
    "effort",
    "limits",
    "attempt",
    "handover",
    "recovery",
    "crew",
    "stream",
)
BLANK = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines(path: Path) -> int:
    """The lines that are not blank, a comment or a docstring."""
    text = path.read_text(encoding="utf-8")
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in BLANK:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(code)


def functions(path: Path) -> list[tuple[str, int]]:
    return [
        (node.name, (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_the_core_is_under_1500_lines_and_with_what_is_beneath_it_under_2000_lines_of_code() -> None:
    sizes = {name: lines(root() / "agentrt" / f"{name}.py") for name in CORE}
    assert sum(sizes.values()) < 1500, sizes
    code = {name: code_lines(root() / "agentrt" / f"{name}.py") for name in (*CORE, *BENEATH)}
    assert sum(code.values()) < 2000, code


@pytest.mark.parametrize("path", sources(), ids=str)
def test_no_file_is_over_400_lines_and_no_function_over_60(path: Path) -> None:
    assert lines(path) <= 400
    assert [(name, size) for name, size in functions(path) if size > 60] == []


def test_half_of_the_functions_of_the_core_are_under_10_lines() -> None:
    sizes = [size for name in (*CORE, *BENEATH) for _, size in functions(root() / "agentrt" / f"{name}.py")]
    assert statistics.median(sizes) < 10

"""The JSON-Schema-Test-Suite (draft 2020-12 and draft-07, the required part) through our gate.

The source distribution of ``jsonschema`` carries the suite; it is fetched once and kept in pytest's cache.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentrt.contract import Gate, Passed, Validator, compile_schema
from agentrt.errors import SchemaError
from agentrt.types import ToolCall, ToolSpec

DIALECTS = {
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
    "draft7": "http://json-schema.org/draft-07/schema#",
}
REMOTE = "http://localhost:1234/"


@dataclass(frozen=True)
class Case:
    file: str
    name: str
    schema: Any
    tests: list[dict[str, Any]]


def download(folder: Path, version: str) -> None:
    wanted = f"jsonschema=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", "jsonschema", "--retries", "1", "--timeout", "30", "--dest", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"the schema suite could not be downloaded ({wanted}): {done.stderr.strip()[-500:]}"
        if os.environ.get("AGENTRT_TEST_NETWORK") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def suite(request: pytest.FixtureRequest) -> Path:
    """The folder ``json`` of the suite."""
    version = importlib.metadata.version("jsonschema")
    folder = Path(request.config.cache.mkdir("json-schema-suite"))
    archive = folder / f"jsonschema-{version}.tar.gz"
    if not archive.exists():
        download(folder, version)
    unpacked = folder / f"jsonschema-{version}" / "json"
    if not unpacked.exists():
        with tarfile.open(archive) as tar:
            members = [item for item in tar.getmembers() if f"jsonschema-{version}/json/" in item.name]
            tar.extractall(folder, members, filter="data")
    return unpacked


@pytest.fixture(params=sorted(DIALECTS))
def draft(request: pytest.FixtureRequest) -> str:
    return request.param


def cases(suite: Path, draft: str) -> Iterator[Case]:
    for file in sorted((suite / "tests" / draft).glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8")):
            schema = case["schema"]
            if isinstance(schema, dict):
                schema = {"$schema": DIALECTS[draft], **schema}
            yield Case(file.name, case["description"], schema, case["tests"])


def remotes(suite: Path, draft: str) -> dict[str, Any]:
    """The documents that the suite serves under ``http://localhost:1234``, in this draft's dialect."""
    found = {}
    for file in sorted((suite / "remotes").rglob("*.json")):
        path = file.relative_to(suite / "remotes").as_posix()
        if not path.startswith("draft") or path.startswith(f"{draft}/"):
            schema = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(schema, dict) and (draft != "draft7" or "$defs" not in schema):  # $defs: meant for later ones
                schema = {"$schema": DIALECTS[draft], **schema}
            found[REMOTE + path] = schema
    return found


def test_every_case_of_the_suite_gets_its_verdict(suite: Path, draft: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, count, remote = [], 0, 0
    documents = remotes(suite, draft)
    for case in cases(suite, draft):
        try:
            validator = compile_schema(case.schema)
        except SchemaError:  # it needs a remote document, which is never fetched: here it is handed over
            remote += 1
            validator = Validator(case.schema, documents)
        for test in case.tests:
            count += 1
            data, valid = test["data"], test["valid"]
            accepts, listed = validator.accepts(data, 1), validator.problems(data)
            if validator.is_valid(data) != valid or accepts != valid or bool(listed) == valid:
                wrong.append((case.file, case.name, test["description"]))
    with capsys.disabled():
        print(f"\n{draft}: {count} cases, {len(wrong)} failures ({remote} schemas needed remote documents)")
    assert wrong == []
    assert count > 900
    assert remote > 10


def test_the_gate_lets_through_exactly_the_objects_that_the_suite_calls_valid(suite: Path, draft: str) -> None:
    wrong, count = [], 0
    for case in cases(suite, draft):
        gate = Gate((ToolSpec("tool", "", case.schema, repair=False),)) if isinstance(case.schema, dict) else None
        if gate is None or gate.refused:
            continue
        for test in case.tests:
            if isinstance(test["data"], dict):
                count += 1
                verdict = gate.check(ToolCall("1", "tool", json.dumps(test["data"])))
                if isinstance(verdict, Passed) != test["valid"]:
                    wrong.append((case.file, case.name, test["description"], verdict))
                if isinstance(verdict, Passed) and verdict.call.arguments != test["data"]:
                    wrong.append((case.file, case.name, test["description"], "other arguments"))
    assert wrong == []
    assert count > 250


def test_a_schema_that_needs_a_remote_document_is_refused_and_no_socket_is_opened(suite: Path, draft: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.setblocking(False)
        here = f"http://127.0.0.1:{canary.getsockname()[1]}/"
        refused = []
        for case in cases(suite, draft):
            text = json.dumps(case.schema)
            if case.file == "refRemote.json" and f'"$ref": "{REMOTE}' in text:
                with pytest.raises(SchemaError, match="can't be used"):
                    compile_schema(json.loads(text.replace(REMOTE, here)))
                with pytest.raises(SchemaError, match="can't be used"):  # nor is what the resources lack
                    Validator(json.loads(text.replace(REMOTE, here)), {f"{here}other.json": {"$ref": "third.json"}})
                refused.append(case.name)
        with pytest.raises(BlockingIOError):
            canary.accept()
    assert len(refused) >= 5

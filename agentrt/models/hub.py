"""The official hub's file over HTTPS, with the standard library alone; goes on where an earlier try broke off."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from agentrt.errors import EngineError
from agentrt.models.catalogue import Weights
from agentrt.models.store import GGUF_MAGIC, Progress

HUB = "https://huggingface.co"
CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
PIECE_BYTES = 1 << 20


def url(weights: Weights) -> str:
    """The file's address on the hub, or on the mirror that ``HF_ENDPOINT`` names."""
    base = os.environ.get("HF_ENDPOINT") or HUB
    return f"{base.rstrip('/')}/{weights.hub_repo}/resolve/main/{weights.filename}"


def reachable(weights: Weights) -> bool:
    """Whether the hub serves this very file: its first bytes and its whole size tell. Decided in seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    try:
        with _open(weights, f"0-{len(GGUF_MAGIC) - 1}", CONNECT_SECONDS) as answer:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            return total == str(weights.size_bytes) and answer.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except (OSError, HTTPException, ValueError):
        return False


def fetch(weights: Weights, partial: Path, progress: Progress) -> None:
    """Append what is missing to ``partial``.

    :raises EngineError: if the hub can't be asked or breaks off; ``partial`` keeps what came.
    """
    done = partial.stat().st_size if partial.exists() else 0
    if done > weights.size_bytes:
        partial.unlink()
        done = 0
    try:
        if done < weights.size_bytes:
            _append(weights, partial, done, progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, HTTPException, ValueError) as error:
        raise EngineError(f"can't get {url(weights)}: {error}. Pull again to go on where it broke off") from error
    if partial.stat().st_size != weights.size_bytes:
        raise EngineError(f"{url(weights)} broke off at {partial.stat().st_size} bytes; pull again to go on there")


def _append(weights: Weights, partial: Path, done: int, progress: Progress) -> None:
    with _open(weights, f"{done}-", READ_SECONDS) as answer:
        if answer.status != 206:
            done = 0  # no ranges there: the whole file comes
        with partial.open("ab") as out:
            out.truncate(done)
            while done < weights.size_bytes and (piece := answer.read(PIECE_BYTES)):
                out.write(piece)
                done += len(piece)
                progress("downloading", done, weights.size_bytes)


def _open(weights: Weights, span: str, timeout_seconds: float) -> HTTPResponse:
    request = urllib.request.Request(url(weights), headers={"Range": f"bytes={span}", "User-Agent": "agentrt"})
    answer: HTTPResponse = urllib.request.urlopen(request, timeout=timeout_seconds)
    return answer

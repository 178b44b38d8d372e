"""Stores to test against."""

import os
import tempfile
from pathlib import Path

import pytest
from journal_places import Cluster, Place, postgres_binaries


@pytest.fixture(scope="session")
def cluster():
    binaries = postgres_binaries()
    why = ""
    if binaries is None:
        why = "no Postgres server is installed (Debian: apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        why = "psycopg is not installed (pip install 'agentrt[postgres]')"
    if why:
        if os.environ.get("AGENTRT_TEST_POSTGRES"):
            pytest.fail(why)
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="agentrt-pg-", ignore_cleanup_errors=True) as folder:
        server = Cluster(binaries, Path(folder))
        yield server
        server.stop()


KINDS = ["memory", "sqlite", "postgres"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
async def place(kind, tmp_path, request, anyio_backend):
    dsn = request.getfixturevalue("cluster").dsn if kind == "postgres" else ""
    place = Place(kind, tmp_path, dsn)
    yield place
    await place.aclose()


@pytest.fixture
async def store(place):
    return place.open()

"""A Postgres server of the tests' own."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "journal"))

from journal_places import Cluster, Place, postgres_binaries  # noqa: E402


def missing() -> str:
    """Why there can be no Postgres server here, if that is so."""
    if postgres_binaries() is None:
        return "no Postgres server is installed (Debian: apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (pip install 'agentrt[postgres]')"
    return ""


@pytest.fixture(scope="session")
def cluster():
    why = missing()
    if why and os.environ.get("AGENTRT_TEST_POSTGRES"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="agentrt-pg-", ignore_cleanup_errors=True) as folder:
        server = Cluster(postgres_binaries(), Path(folder))
        yield server
        server.stop()


@pytest.fixture
async def place(tmp_path, cluster, anyio_backend):
    place = Place("postgres", tmp_path, cluster.dsn)
    yield place
    await place.aclose()


@pytest.fixture
async def store(place):
    return place.open()

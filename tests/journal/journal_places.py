"""Places to keep sessions in: in memory, in a file, and in a Postgres server of the tests' own."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from agentrt.journal.memory import MemoryStore
from agentrt.journal.sqlite import SqliteStore


def postgres_binaries() -> Path | None:
    """The folder with ``initdb`` and ``pg_ctl``: on the path, or where Debian keeps them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class Cluster:
    """A private Postgres server on a unix socket, run by a user that is not root (it refuses root)."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries = binaries
        self.folder = folder
        self.user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(folder, "postgres", "postgres")
        self.run("initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        self.start()

    def run(self, program: str, *arguments: object) -> None:
        command = [self.binaries / program, *map(str, arguments)]
        log = self.folder / "log"
        with log.open("ab") as output:  # not a pipe: the server would inherit it and keep it open
            done = subprocess.run(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                check=False,
                **self.user,
            )
        assert done.returncode == 0, f"{program} failed:\n{log.read_text(errors='replace')[-2000:]}"

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-D", self.folder / "data", "-o", options)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.folder / "data")

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"


class Place:
    """Somewhere to keep sessions, where a store can be opened again and again."""

    def __init__(self, kind: str, folder: Path, dsn: str = "") -> None:
        self.kind = kind
        self.path = folder / "agentrt" / "sessions.db"
        self.dsn = dsn
        self.schema = f"t{secrets.token_hex(6)}"
        self.disk = {}
        self.stores = []

    def open(self):
        """A fresh store on what is kept here. Earlier ones stay as they are, like processes that hang."""
        if self.kind == "memory":
            store = MemoryStore(self.disk)
        elif self.kind == "postgres":
            from agentrt.journal.postgres import PostgresStore

            store = PostgresStore(self.dsn, schema=self.schema)
        else:
            store = SqliteStore(self.path, synchronous="NORMAL")
        self.stores.append(store)
        return store

    async def aclose(self) -> None:
        for store in self.stores:
            await store.aclose()

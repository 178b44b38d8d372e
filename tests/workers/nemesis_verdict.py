"""What must be true after all that, read from the database, the workers' logs and the sessions themselves."""

from collections import Counter, defaultdict
from statistics import median

from agentrt.journal import fold
from agentrt.journal.records import Ended, InDoubt, Landed, Reconciled
from agentrt.types import ToolResult

TABLES = """
    CREATE TABLE effects (
        kind text, session text, step integer, key text, worker text, at timestamptz DEFAULT clock_timestamp()
    );
    -- each record with who really wrote it (a setting of the connection) and who held the session at that moment
    CREATE TABLE audit (
        session bigint, seq bigint, writer text, owner text, epoch bigint, at timestamptz DEFAULT clock_timestamp()
    );
    CREATE TABLE moves (
        session text, old_owner text, new_owner text, old_epoch bigint, new_epoch bigint, old_lease timestamptz,
        at timestamptz DEFAULT clock_timestamp()
    );
    CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO audit (session, seq, writer, owner, epoch)
            SELECT NEW.session, NEW.seq, coalesce(current_setting('nemesis.worker', true), ''), owner, epoch
            FROM sessions WHERE number = NEW.session;
        PERFORM pg_notify('nemesis', '');
        RETURN NULL;
    END $$;
    CREATE TRIGGER audited AFTER INSERT ON records FOR EACH ROW EXECUTE FUNCTION audited();
    CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO moves (session, old_owner, new_owner, old_epoch, new_epoch, old_lease)
            VALUES (NEW.id, OLD.owner, NEW.owner, OLD.epoch, NEW.epoch, OLD.lease_until);
        PERFORM pg_notify('nemesis', '');
        RETURN NULL;
    END $$;
    CREATE TRIGGER moved AFTER UPDATE ON sessions FOR EACH ROW
        WHEN (OLD.owner <> NEW.owner OR OLD.epoch <> NEW.epoch) EXECUTE FUNCTION moved();
"""

GRACE_SECONDS = 1.0
"""How long after the end of its lease a session may lie around."""

UNSAFE = ("pay", "book")


class Verdict:
    """Collects what is wrong, and counts the rest."""

    def __init__(self, nemesis, steps):
        self.nemesis = nemesis
        self.steps = steps
        self.wrong = list(nemesis.exits)
        self.counts = {}

    async def sessions(self):
        """None lost, each at its end, each record there."""
        records = 0
        outcomes = Counter()
        effects = await self._effects()
        found = {info.id for info in await self.nemesis.store.find(limit=100_000)}
        self.wrong += [f"{name} is lost" for name in self.nemesis.queued if name not in found]
        for name in self.nemesis.queued:
            kept = await self.nemesis.store.read(name)
            records += len(kept)
            if not isinstance(kept[-1], Ended) or kept[-1].reason != "done":
                self.wrong.append(f"{name} did not come to its end: {kept[-1]}")
            outcomes.update(type(record).__name__ for record in kept if isinstance(record, InDoubt | Reconciled))
            try:
                self._calls(name, fold(kept).transcript, effects, outcomes)
            except ValueError as error:
                self.wrong.append(f"{name} is no conversation: {error}")
            landed = Counter(record.result.call_id for record in kept if isinstance(record, Landed))
            self.wrong += [f"{name}: {call} landed {times} times" for call, times in landed.items() if times > 1]
        gaps = await self.nemesis.sql(
            "SELECT id FROM sessions LEFT JOIN records ON session = number GROUP BY id, sessions.records"
            " HAVING count(seq) <> sessions.records OR max(seq) <> sessions.records"
        )
        self.wrong += [f"{name} has gaps" for (name,) in gaps]
        self.counts |= {
            "sessions": len(found),
            "records": records,
            "calls": outcomes["calls"],
            "in doubt": outcomes["InDoubt"],
            "found out": outcomes["Reconciled"],
            "calls without effect": outcomes["without effect"],
        }

    async def _effects(self):
        """By session, step and kind: how many, and under how many keys. None of the unsafe ones twice."""
        rows = await self.nemesis.sql(
            "SELECT session, step, kind, count(*), count(DISTINCT key) FROM effects GROUP BY session, step, kind"
        )
        effects = {(session, step, kind): count for session, step, kind, count, _ in rows}
        for session, step, kind, count, keys in rows:
            if kind in UNSAFE and count > 1:
                self.wrong.append(f"{kind} {step} of {session} happened {count} times")
            if kind == "put" and keys > 1:
                self.wrong.append(f"{kind} {step} of {session} was repeated under another key")
        self.counts["effects"] = sum(effects.values())
        self.counts["repeated reads"] = sum(n - 1 for (_, _, kind), n in effects.items() if kind == "look")
        self.counts["repeated under the same key"] = sum(n - 1 for (_, _, kind), n in effects.items() if kind == "put")
        return effects

    def _calls(self, name, transcript, effects, outcomes):
        """Every call has a result; one that says that it was done was done, one that was not done says so."""
        results = [item for item in transcript if isinstance(item, ToolResult)]
        outcomes["calls"] += len(results)
        if len(results) != self.steps * 4:
            self.wrong.append(f"{name} has {len(results)} results")
        for place, result in enumerate(results):
            times = effects.get((name, place // 4, result.name), 0)
            outcomes["without effect"] += not times
            if not result.error and not times:
                self.wrong.append(f"{name}: {result.name} {place // 4} says it is done, and is not")

    async def writes(self):
        """No record by somebody who did not hold the session; none that was acknowledged is gone."""
        rows = await self.nemesis.sql(
            "SELECT id, seq, writer, audit.owner, audit.epoch FROM audit JOIN sessions ON number = session"
        )
        epochs = defaultdict(dict)
        for name, seq, writer, owner, epoch in rows:
            epochs[name][seq] = epoch
            if writer != owner:
                self.wrong.append(f"record {seq} of {name} was written by {writer or 'nobody'}, and {owner} held it")
        acknowledged = refused = 0
        for log in self.nemesis.folder.glob("*.log"):
            for line in log.read_text().splitlines():
                what, name, epoch, *places = line.split()
                if what == "refused":
                    refused += 1
                    continue
                acknowledged += 1
                after, last = map(int, places)
                other = [seq for seq in range(after + 1, last + 1) if epochs[name].get(seq) != int(epoch)]
                if other:
                    self.wrong.append(f"{name}: records {other} are not those that {log.stem} wrote as {epoch}")
        self.counts |= {"acknowledged appends": acknowledged, "refused zombie writes": refused}

    async def moves(self):
        """One holder after another; nobody before the end of a lease, and nobody much after it."""
        rows = await self.nemesis.sql(
            "SELECT session, old_owner, new_owner, old_epoch, new_epoch, extract(epoch FROM old_lease)::float8,"
            " extract(epoch FROM at)::float8 FROM moves ORDER BY session, new_epoch"
        )
        late, stalled = [], 0.0
        before = {}
        for name, old, new, old_epoch, new_epoch, lease, at in rows:
            if new_epoch != old_epoch + 1 or before.get(name, old_epoch) != old_epoch:
                self.wrong.append(f"{name} went from epoch {before.get(name, old_epoch)} to {new_epoch}")
            before[name] = new_epoch
            if not old or not new:
                continue
            waited, excused = at - lease, self._excused(lease, at)
            late.append(waited - excused)
            stalled = max(stalled, excused)
            if waited < 0:
                self.wrong.append(f"{name} was taken from {old} by {new} {-waited:.3f} s before the end of its lease")
            if waited - excused > GRACE_SECONDS:
                self.wrong.append(f"{name} lay around for {waited:.2f} s, {excused:.2f} s of them excused")
        self.counts |= {
            "takeovers": len(late),
            "seconds after the lease": {"median": round(median(late or [0]), 3), "max": round(max(late, default=0), 3)},
            "longest stall excused": round(stalled, 2),
        }

    def _excused(self, begin, end):
        """Seconds in which the server was down, or the machine did not let anybody work."""
        down = sum(max(0.0, min(end, up) - max(begin, down)) for down, up in self.nemesis.downs)
        stalls = sum(late for start, stop, late in self.nemesis.stalls if start < end and stop > begin)
        return max(down, stalls)


async def verdict(nemesis, steps):
    """What was seen, and under ``wrong`` what must not be."""
    found = Verdict(nemesis, steps)
    for check in (found.sessions, found.writes, found.moves):
        await check()
    return {**found.counts, "wrong": found.wrong}

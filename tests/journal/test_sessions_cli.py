"""``agentrt sessions`` as its user meets it: a command in a terminal or in a pipe."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pexpect
import pytest
from journal_samples import answered, ended, info, landed, said, turn
from typer.testing import CliRunner

from agentrt.cli.sessions import app
from agentrt.journal.records import Closed, InDoubt, Intended, Started, load
from agentrt.journal.sqlite import SqliteStore
from agentrt.types import ToolCall, ToolResult

COMMAND = [sys.executable, "-c", "from agentrt.cli.sessions import app; app(prog_name='agentrt sessions')"]

SKIES = "20260101-120000-aaa111"
PAYS = "20260102-120000-bbb222"

PAID = [
    said("pay ann"),
    answered("", ToolCall("call_1", "pay", '{"to": "ann"}'), ToolCall("call_2", "pay", '{"to": "bob"}')),
    Intended("call_1", "pay", "python", "unsafe", "k" * 32, "0" * 64),
    Started("call_1"),
    InDoubt(ToolResult("call_1", "pay", "nobody knows", error=True)),
    landed("call_2", "no\x1b[2Jmoney\nat all", error=True),
    Closed(()),
]


@pytest.fixture
def home(tmp_path):
    """A home with two sessions, of which the second was interrupted."""

    async def fill():
        store = SqliteStore(tmp_path / "home" / "sessions.db", synchronous="NORMAL")
        long = [said("what colour is the sky?"), *turn(1, "blue " * 1000), answered("It is blue."), Closed(()), ended()]
        await store.create(info(SKIES, title="what colour is the sky?"), long)
        await store.create(info(PAYS, title="pay ann\tnow"), PAID)
        await store.aclose()

    anyio.run(fill)
    return {**os.environ, "AGENTRT_HOME": str(tmp_path / "home"), "COLUMNS": "120", "TERM": "xterm"}


def sessions(home, *arguments, stdin=""):
    done = CliRunner().invoke(app, [str(item) for item in arguments], env=home, input=stdin)
    return done.exit_code, done.stdout, done.stderr


def test_it_runs_as_a_program_of_its_own(home):
    done = subprocess.run([*COMMAND, "list"], env=home, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 2, "")


def test_a_pipe_gets_one_tab_separated_line_a_session_the_latest_first(home):
    code, out, err = sessions(home, "list")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [(row[0], *row[2:]) for row in rows] == [
        (PAYS, "open", "7", "pay ann now"),
        (SKIES, "idle", "10", "what colour is the sky?"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", row[1]) for row in rows)
    assert len(sessions(home, "list", "--limit", "1")[1].splitlines()) == 1


def test_json_is_one_object_a_session(home):
    _, out, _ = sessions(home, "list", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(item["id"], item["state"], item["records"]) for item in found] == [(PAYS, "open", 7), (SKIES, "idle", 10)]


def test_a_terminal_gets_a_table(home):
    shell = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "list"], env=home, encoding="utf-8", dimensions=(40, 120))
    shell.expect(pexpect.EOF, timeout=30)
    shell.close()
    lines = shell.before.replace("\r", "").splitlines()
    assert re.sub(r"\x1b\[[0-9;]*m", "", lines[0]).split() == ["id", "updated", "state", "title"]
    assert PAYS in lines[1]
    assert SKIES in lines[2]
    assert shell.exitstatus == 0


def test_without_sessions_one_is_told_how_they_come_about(tmp_path):
    home = {**os.environ, "AGENTRT_HOME": str(tmp_path / "nowhere")}
    code, out, err = sessions(home, "list")
    assert (code, out) == (0, "")
    assert 'no sessions yet: `agentrt run "TASK"` and `agentrt chat` keep one each' in err
    assert not (tmp_path / "nowhere").exists()


def test_a_search_shows_where_the_text_was_found(home):
    code, out, _ = sessions(home, "search", "MONEY")
    assert code == 0
    (line,) = out.splitlines()
    assert line.startswith(PAYS)
    assert line.endswith("no␛[2Jmoney at all")
    assert sessions(home, "search", "nowhere")[0] == 1


def test_a_session_is_shown_turn_by_turn_with_nothing_that_a_terminal_obeys(home):
    code, out, err = sessions(home, "show", "bbb222")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{PAYS}  pay ann\tnow"
    assert out.splitlines()[2:] == [
        "",
        "you",
        "  pay ann",
        "",
        "turn 1",
        '  > pay {"to": "ann"}',
        '  > pay {"to": "bob"}',
        "  ? pay: nobody knows",
        "  x look: no␛[2Jmoney",
        "    at all",
    ]


def test_a_long_result_is_cut_unless_it_is_asked_for_in_full(home):
    _, out, _ = sessions(home, "show", SKIES)
    assert "    … 3000 more characters; --full shows them" in out.splitlines()
    assert "turn 2" in out
    assert "ended: done (1 turns, 0 calls, 0 tokens, 0.5 s)" in out
    assert "blue " * 1000 in sessions(home, "show", SKIES, "--full")[1]


def test_show_json_and_export_give_the_records_and_import_takes_them_back(home, tmp_path):
    _, out, _ = sessions(home, "show", PAYS, "--json")
    assert [load(line) for line in out.splitlines()] == PAID
    code, exported, _ = sessions(home, "export", "20260102")
    assert code == 0
    assert exported.splitlines()[1:] == out.splitlines()
    code, new, _ = sessions(home, "import", "-", stdin=exported)
    assert code == 0
    assert sessions(home, "show", new.strip(), "--json")[1] == out
    file = tmp_path / "session.jsonl"
    assert sessions(home, "export", PAYS, "-o", file)[0] == 0
    assert file.read_text() == exported
    code, _, err = sessions(home, "export", PAYS, "-o", file)
    assert code == 2
    assert "File exists; name a new file" in err
    assert sessions(home, "import", file)[0] == 0
    assert len(sessions(home, "list")[1].splitlines()) == 4


def test_a_fork_prints_its_id_and_how_to_go_on(home):
    code, new, err = sessions(home, "fork", SKIES, "--at", "1")
    assert code == 0
    assert f"agentrt chat --resume {new.strip()}" in err
    assert f"forked from {SKIES}" in sessions(home, "show", new.strip())[1]
    code, out, err = sessions(home, "fork", SKIES, "--at", "9")
    assert (code, out) == (2, "")
    assert f"error: session '{SKIES}' has turns 1 to 2: it can't be forked at turn 9" in err


def test_a_session_is_deleted_only_if_somebody_says_so(home):
    code, _, err = sessions(home, "delete", SKIES)
    assert code == 2
    assert "nobody can be asked here; to delete" in err
    for said_so, code in (("n", 1), ("y", 0)):
        shell = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "delete", "aaa111"], env=home, encoding="utf-8")
        shell.expect(r"Delete .*what colour is the sky\?.*\[y/n\] ", timeout=30)
        shell.sendline(said_so)
        shell.expect(pexpect.EOF, timeout=30)
        shell.close()
        assert shell.exitstatus == code
    assert sessions(home, "delete", PAYS, "--yes")[0] == 0
    assert sessions(home, "list")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["show", "nope"], "there is no session 'nope'; `agentrt sessions list` shows what there is"),
        (["show", "2026"], "'2026' could be several sessions"),
        (["list", "--store", "mysql://x"], "sessions can't be kept at 'mysql://x'"),
        (["import", "/nowhere/at/all"], "can't read /nowhere/at/all"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(home, arguments, why):
    code, out, err = sessions(home, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {why}")
    assert len(err.splitlines()) == 1


def test_a_damaged_journal_is_one_line_and_exit_code_3(home):
    path = Path(home["AGENTRT_HOME"], "sessions.db")
    path.write_bytes(b"my diary" * 1000)
    code, out, err = sessions(home, "list")
    assert (code, out) == (3, "")
    assert err.startswith(f"error: the journal {path} can't be used: it is damaged")

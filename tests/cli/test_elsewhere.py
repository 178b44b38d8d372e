"""What a run at a terminal asks may be answered by another process; whoever is first counts."""

import json
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio
from cli.conftest import PROGRAM, call

from agentrt.journal import open_store
from agentrt.serve.board import Board

KEEP = ("run", "Keep.", "--tool", "tools.py:keep", "--mode", "ask")


def _waiting(machine):
    """What another process sees that waits: a run's id and session for each question."""

    async def look():
        [store] = machine.home.rglob("sessions.db")
        async with aclosing(open_store(str(store))) as kept, aclosing(Board.of(kept)) as board:
            found = await board.going_on()
        return [{"id": run.id, "session": run.session} for run in found for _ in run.questions]

    return anyio.run(look)


def _asked(machine, *answers):
    child = machine.spawn(*KEEP, "--engine", machine.script(*answers))
    child.expect("run it")
    return child


def test_a_call_that_waits_at_the_terminal_is_allowed_by_another_process(machine):
    child = _asked(machine, [call("keep", word="a")], "Kept.")
    [asked] = _waiting(machine)
    shown = machine.run("sessions", "waiting").stdout
    assert "begun at a terminal" in shown
    assert f"agentrt sessions answer {asked['id']} yes" in shown
    told = machine.run("sessions", "answer", asked["session"], "yes")
    assert (told.returncode, told.stdout) == (0, "")
    child.expect("answered elsewhere: yes")
    child.expect("kept a")
    child.expect("Kept")
    child.wait()
    assert child.exitstatus == 0
    assert _waiting(machine) == []


def test_a_no_from_elsewhere_is_told_to_the_model_with_its_word(machine):
    child = _asked(machine, [call("keep", word="a")], "Sorry.")
    assert machine.run("sessions", "answer", _waiting(machine)[0]["id"], "no, not today").returncode == 0
    child.expect("answered elsewhere: no, not today")
    child.expect("Sorry")
    child.wait()
    assert "the user refused it and said: not today" in machine.texts()[2]


def test_what_the_person_answers_first_counts_and_the_other_is_told(machine):
    child = _asked(machine, [call("keep", word="a")], [call("keep", word="b")], "Kept.")
    [asked] = _waiting(machine)
    child.sendline("y")
    child.expect("kept a")
    child.expect("run it")
    child.sendline("n")
    child.expect("Kept")
    child.wait()
    late = machine.run("sessions", "answer", asked["id"], "no")
    assert late.returncode == 2
    assert "none of the runs that wait" in late.stderr


def test_an_answer_that_came_before_the_persons_counts_though_it_was_not_seen_yet(machine):
    child = _asked(machine, [call("keep", word="a")], "Kept.")
    child.kill(signal.SIGSTOP)  # it can't look at the board
    assert machine.run("sessions", "answer", _waiting(machine)[0]["id"], "no, too late").returncode == 0
    child.sendline("y")
    child.kill(signal.SIGCONT)
    child.expect("answered elsewhere: no, too late")
    child.expect("Kept")
    child.wait()
    assert "the user refused it" in machine.texts()[2]


def test_of_several_calls_those_that_nobody_answered_are_asked_about_again(machine):
    child = machine.spawn(*KEEP, "--engine", machine.script([call("keep", word="a"), call("keep", word="b")], "Kept."))
    child.expect("run all 2")
    asked = _waiting(machine)
    assert len(asked) == 2
    assert machine.run("sessions", "answer", asked[0]["id"], "no").returncode == 0
    child.expect("answered elsewhere: no")
    child.expect("run it")
    child.sendline("y")
    child.expect("Kept")
    child.wait()
    assert [text for text in machine.texts()[2:4] if text.startswith("kept")] in (["kept a"], ["kept b"])


def test_a_chat_is_answered_from_elsewhere_turn_by_turn(machine):
    engine = machine.script([call("keep", word="a")], "One.", [call("keep", word="b")], "Two.")
    child = machine.spawn("chat", "--engine", engine, "--tool", "tools.py:keep", "--mode", "ask")
    for line, word in (("one", "One"), ("two", "Two")):
        child.expect("> ")
        child.sendline(line)
        child.expect("run it")
        assert machine.run("sessions", "answer", _waiting(machine)[0]["session"], "yes").returncode == 0
        child.expect("answered elsewhere: yes")
        child.expect(word)


def test_a_form_that_stands_at_the_terminal_is_filled_in_elsewhere(machine):
    server = Path(__file__).parent.parent / "servers" / "full_server.py"
    machine.write("servers.toml", f"[mcp_servers.full]\ncommand = {json.dumps([sys.executable, str(server)])}\n")
    flags = ("--config", "servers.toml", "--mode", "full")
    child = machine.spawn("run", "Register.", "--engine", machine.script([call("full__register")], "Done."), *flags)
    child.expect("name: ")
    child.send("An")  # begun, and not sent
    name = _waiting(machine)[0]["id"]
    assert "is a required property" in machine.run("sessions", "answer", name, "age=7").stderr
    assert machine.run("sessions", "answer", name, "name=Bob", "age=7").returncode == 0
    child.expect("answered elsewhere: yes")
    child.expect("Done")
    child.wait()
    assert "Bob" in machine.texts()[2]


def test_without_a_terminal_it_waits_for_a_word_if_it_is_told_to(machine):
    engine = machine.script([call("keep", word="a")], "Kept.")
    argv = [*PROGRAM, *KEEP, "--engine", engine, "--wait"]
    with subprocess.Popen(
        argv, cwd=machine.work, env=machine.environ, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, text=True
    ) as waits:
        while "agentrt sessions answer" not in (line := waits.stderr.readline()):
            assert line, "it ended without asking"
        how = shlex.split(line.partition("agentrt ")[2].partition(",")[0])
        assert machine.run(*how).returncode == 0
        out, err = waits.communicate(timeout=30)
    assert (waits.returncode, out) == (0, "Kept.\n")
    assert "answered elsewhere: yes" in err


def test_without_a_terminal_and_without_wait_it_is_refused_as_ever(machine):
    done = machine.run(*KEEP, "--engine", machine.script([call("keep", word="a")], "Sorry."))
    assert (done.returncode, done.stdout) == (0, "Sorry.\n")
    assert "--allow" in machine.texts()[2]


def test_waiting_for_others_without_a_session_is_a_mistake(machine):
    done = machine.run(*KEEP, "--engine", machine.script("x"), "--wait", "--no-journal")
    assert done.returncode == 2
    assert "leave --no-journal or --wait out" in done.stderr


def test_a_run_that_was_stopped_waits_for_nothing(machine):
    child = _asked(machine, [call("keep", word="a")], "Kept.")
    assert len(_waiting(machine)) == 1
    child.sendintr()
    child.wait()
    assert child.exitstatus == 130
    assert _waiting(machine) == []


def test_a_run_whose_process_died_is_answered_no_more_and_goes_on_at_a_terminal(machine):
    child = _asked(machine, [call("keep", word="a")], "Kept.")
    [asked] = _waiting(machine)
    child.kill(signal.SIGKILL)
    child.wait()
    [board] = machine.home.rglob("runs.db")
    with sqlite3.connect(board) as database:  # as it is once its hold is over
        database.execute("UPDATE serve_runs SET held = 0")
    database.close()
    assert _waiting(machine) == []
    assert machine.run("sessions", "answer", asked["id"], "yes").returncode == 2
    again = machine.spawn("run", "--resume", asked["session"], *KEEP[2:], "--engine", machine.script("Kept.", name="b"))
    again.expect("run it")
    assert [one["session"] for one in _waiting(machine)] == [asked["session"]]
    again.sendline("y")
    again.expect("Kept")

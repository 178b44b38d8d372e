import json

from cli.conftest import call

CONFIG = "[compaction]\ncontext_tokens = 3700\nkeep_turns = 1\n"
LONG = ["word " * 300 for _ in range(4)]


def _script(machine):
    """Four long words to keep, a summary of what the model wrote before, and the end."""
    return machine.script(
        *[[call("keep", word=f"{at} {word}")] for at, word in enumerate(LONG)], "I kept words.", "Kept."
    )


def test_the_configured_context_is_held_and_the_price_is_a_line_and_an_event(machine):
    machine.write("agentrt.toml", CONFIG)
    flags = ("--tool", "tools.py", "--yes")
    ran = machine.run("run", "Keep them.", "--engine", _script(machine), *flags)
    assert (ran.returncode, ran.stdout) == (0, "Kept.\n"), ran.stderr
    assert "messages for a summary of" in ran.stderr
    assert "prefilled again; it costs" in ran.stderr
    ran = machine.run("run", "Keep them.", "--engine", _script(machine), *flags, "--json")
    told = [event for event in map(json.loads, ran.stdout.splitlines()) if event["type"] == "Compacted"]
    assert len(told) == 1
    assert told[0]["before"] > told[0]["after"]
    latest = json.loads(machine.run("sessions", "list", "--json", "--limit", "1").stdout)
    shown = machine.run("sessions", "show", "--full", latest["id"]).stdout
    assert "compacted " in shown
    assert "I kept words." in shown
    assert all(f"{at} word word" in shown for at in range(4))  # the whole history is there


def test_switched_off_nothing_is_compacted(machine):
    machine.write("agentrt.toml", f"{CONFIG}enabled = false\n")
    ran = machine.run("run", "Keep them.", "--engine", _script(machine), "--tool", "tools.py", "--yes")
    assert (ran.returncode, ran.stdout) == (0, "I kept words.\n"), ran.stderr


def test_in_a_chat_by_hand(machine):
    engine = machine.script(*[f"Answer {at}. {'word ' * 300}" for at in range(6)], "You said hello.", "Bye.")
    child = machine.spawn("chat", "--engine", engine)
    child.expect("> ")
    child.sendline("/compact")
    child.expect("there is nothing to compact yet")
    for at in range(6):
        child.expect("> ")
        child.sendline(f"hello {at}")
        child.expect(f"Answer {at}")
    child.expect("> ")
    child.sendline("/compact")
    child.expect(r"compacted [\d,]+ → [\d,]+ tokens: 5 messages for a summary of \d+ tokens")
    child.expect("> ")
    child.sendline("And now?")
    child.expect("Bye")
    child.expect("> ")
    child.sendline("/quit")
    child.wait()
    assert child.exitstatus == 0
    assert len(machine.texts()) == 14

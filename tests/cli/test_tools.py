import json

from cli.conftest import SERVER_COMMAND

FLAGS = ("--tool", "tools.py", "--mcp", SERVER_COMMAND, "--trust", "server")


def test_tools_are_listed_with_source_effect_and_description(machine):
    ran = machine.run("tools", *FLAGS, "--pack", "calculator")
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert ["temperature", "python", "reads", "The temperature in a city, in degrees Celsius."] in rows
    assert ["server__shout", "mcp:server", "reads", "Say a word loudly."] in rows
    assert ["server__keep", "mcp:server", "writes", "Keep a word."] in rows
    assert "calculate" in {row[0] for row in rows}


def test_schemas_are_shown_whole_and_json_is_one_tool_a_line(machine):
    ran = machine.run("tools", "--tool", "tools.py", "--schema")
    assert '"city": {' in ran.stdout
    ran = machine.run("tools", "--tool", "tools.py", "--json")
    first = json.loads(ran.stdout.splitlines()[0])
    assert (first["name"], first["input_schema"]["required"]) == ("temperature", ["city"])


def test_contracts_say_what_a_grammar_enforces_and_what_the_gate_has_to_check(machine):
    machine.write(
        "lines.py",
        '''
from typing import Annotated
from pydantic import Field
from agentrt import tool

@tool
def note(text: Annotated[str, Field(min_length=3)]) -> str:
    """Keep a note."""
    return text
''',
    )
    ran = machine.run("tools", "--tool", "tools.py", "--tool", "lines.py", "--contract")
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert ["temperature", "enforced", ""] in rows
    assert ["note", "partly enforced", "/properties/text: minLength: makes strings that are no JSON"] in rows
    ran = machine.run("tools", "--tool", "tools.py", "--contract", "--json")
    assert json.loads(ran.stdout.splitlines()[0])["contract"] == "enforced"


def test_servers_are_shown_with_their_state_one_that_fails_among_them(machine):
    command, argument = SERVER_COMMAND.split()
    servers = {"good": {"command": command, "args": [argument], "enabledTools": ["s*"]}, "gone": {"command": "no-such"}}
    servers["unset"] = {"command": "x", "env": {"KEY": "${NO_SUCH_VARIABLE}"}}
    servers["off"] = {"command": "x", "disabled": True}
    machine.write("servers.json", json.dumps({"mcpServers": servers}))
    ran = machine.run("tools", "--servers", "--mcp-config", "servers.json", "--json")
    states = {state["name"]: state for state in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 0
    assert set(states) == {"good", "gone", "unset"}
    good = states["good"]
    assert (good["state"], good["protocol"], good["tools"], good["server"]) == (
        "up",
        "2025-06-18",
        1,
        "test-server 1.2",
    )
    assert states["gone"]["state"] == "failed"
    assert "NO_SUCH_VARIABLE is not set" in states["unset"]["notes"][0]


def test_a_call_goes_through_the_gate_to_the_tool(machine):
    ran = machine.run("call", "server__shout", '{"word": "hi"}', *FLAGS)
    assert (ran.returncode, ran.stdout) == (0, "HI\n")
    ran = machine.run("call", "keep", "-", *FLAGS, stdin='{"word": "hi"}')
    assert (ran.returncode, ran.stdout) == (0, "kept hi\n")
    ran = machine.run("call", "temperature", '{"city": "Oslo"}', "--tool", "tools.py", "--json")
    assert json.loads(ran.stdout)["data"] == 21.5


def test_a_call_that_the_gate_rejects_exits_with_1_and_its_message(machine):
    ran = machine.run("call", "temperature", '{"town": "Oslo"}', "--tool", "tools.py")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "expected a property 'city'" in ran.stderr.replace('"', "'")
    ran = machine.run("call", "temprature", "{}", "--tool", "tools.py")
    assert (ran.returncode, "Did you mean 'temperature'?" in ran.stderr) == (1, True)


def test_a_tool_that_fails_exits_with_1_and_a_repair_is_said(machine):
    ran = machine.run("call", "fail", "{}", "--tool", "tools.py")
    assert (ran.returncode, "no such luck" in ran.stderr) == (1, True)
    ran = machine.run("call", "keep", '{"word": "hi",}', "--tool", "tools.py")
    assert (ran.returncode, ran.stdout) == (0, "kept hi\n")
    assert "~ keep repaired" in ran.stderr


def test_at_a_terminal_tools_are_a_table_and_progress_is_shown(machine):
    child = machine.spawn("tools", "--tool", "tools.py")
    child.expect("what it does")
    child.expect("temperature")
    child.wait()
    child = machine.spawn("call", "server__count", *FLAGS)
    child.expect("server__count 1/2 half way")
    child.expect("DONE")
    child.wait()
    assert child.exitstatus == 0


def _kinds(machine, *flags):
    ran = machine.run("tools", "--json", *flags)
    return {tool["name"]: tool["read_only"] for tool in map(json.loads, ran.stdout.splitlines())}


def test_a_servers_hints_count_only_if_its_operator_trusts_it(machine):
    command, argument = SERVER_COMMAND.split()
    server = f"[mcp_servers.server]\ncommand = {json.dumps(command)}\nargs = [{json.dumps(argument)}]\n"
    for trusted, flags in (("", ()), ("trusted = false", ()), ("trusted = true", ()), ("", ("--trust", "server"))):
        machine.write("agentrt.toml", f"{server}{trusted}\n")
        kinds = _kinds(machine, "--trust-project", *flags)
        assert kinds == {
            "server__shout": (believed := bool(flags) or "true" in trusted),
            "server__count": believed,
            "server__hang": believed,
            "server__keep": False,
        }
    assert not any(_kinds(machine, "--no-config", "--mcp", SERVER_COMMAND).values())
    ran = machine.run("tools", "--trust", "nobody")
    assert (ran.returncode, "there is no MCP server 'nobody' to trust" in ran.stderr) == (2, True)


def test_the_operators_classes_stand_above_what_a_tool_says_of_itself(machine):
    classes = '[classes]\n"temperature" = "unsafe"\n"server__k*" = "read-only"\n'
    machine.write("classes.toml", classes)
    kinds = _kinds(machine, "--config", "classes.toml", *FLAGS)
    assert (kinds["temperature"], kinds["server__keep"], kinds["server__shout"]) == (False, True, True)
    machine.write("wrong.toml", '[classes]\n"x" = "safe"\n')
    ran = machine.run("tools", "--config", "wrong.toml")
    assert ran.returncode == 2
    assert "'classes.x': input should be 'read-only', 'idempotent' or 'unsafe'" in ran.stderr


def test_a_projects_classes_can_only_make_things_stricter_without_trust(machine):
    machine.write("agentrt.toml", '[classes]\n"temperature" = "unsafe"\n"keep" = "read-only"\n')
    assert _kinds(machine, "--tool", "tools.py")["temperature"] is False
    assert _kinds(machine, "--tool", "tools.py")["keep"] is False
    assert _kinds(machine, "--tool", "tools.py", "--trust-project")["keep"] is True


def test_a_search_among_the_tools_can_be_shown_instead_of_them(machine):
    ran = machine.run("tools", *FLAGS, "--find-tools")
    assert [line.split("\t")[0] for line in ran.stdout.splitlines()] == ["find_tools"]


def test_a_server_that_is_started_in_a_whole_home_is_said_to_have_no_folder_to_write_in(machine):
    machine.work = machine.home
    ran = machine.run("tools", "--mcp", SERVER_COMMAND)
    assert (ran.returncode, "can change no file: the current folder holds a whole home" in ran.stderr) == (0, True)


def test_a_call_where_there_are_no_tools_says_how_to_name_some(machine):
    ran = machine.run("call", "add", "{}")
    assert ran.returncode == 1
    assert ran.stderr == (
        "there is no tool called 'add': no tools are on offer.\n"
        "Name some with --pack, --tool or --mcp, or in agentrt.toml.\n"
    )

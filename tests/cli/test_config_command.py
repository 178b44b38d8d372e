import json

from cli.conftest import SERVER_COMMAND


def _server():
    command, argument = SERVER_COMMAND.split()
    return {"command": command, "args": [argument]}


def test_each_value_is_shown_with_the_file_that_it_comes_from_and_no_secret(machine):
    user = machine.home / ".config/agentrt/config.toml"
    user.parent.mkdir(parents=True)
    user.write_text(
        '[limits]\nturns = 5\n[mcp_servers.a]\nurl = "https://a.example/mcp"\nbearer_token = "s3cret"\n'
        '[mcp_servers.a.headers]\nX-Key = "env:A_KEY"\nOther = "s3cret"\n'
    )
    project = machine.write("agentrt.toml", 'instructions = "Be brief."\n')
    ran = machine.run("config")
    assert ran.returncode == 0
    assert f'instructions = "Be brief."    # {project}' in ran.stdout
    assert f"limits.turns = 5    # {user}" in ran.stdout
    assert "s3cret" not in ran.stdout
    assert 'X-Key = "env:A_KEY"' in ran.stdout
    values = json.loads(machine.run("config", "--json").stdout)
    assert values["limits.turns"] == {"value": 5, "from": str(user)}


def test_paths_are_told(machine):
    lines = machine.run("config", "path").stdout.splitlines()
    assert lines[0] == f"user: {machine.home / '.config/agentrt/config.toml'} (not there)"
    assert lines[1] == f"project: {machine.work / 'agentrt.toml'} (not there)"
    assert lines[-1] == f"data: {machine.home / '.local/share/agentrt'}"


def test_a_first_file_is_written_once_and_is_right(machine):
    assert machine.run("config", "init").returncode == 0
    assert "calculator" in machine.run("config").stdout
    ran = machine.run("config", "init")
    assert (ran.returncode, "is already there" in ran.stderr) == (2, True)
    assert machine.run("config", "init", "--user").returncode == 0


def test_in_a_pipe_an_untrusted_projects_servers_are_left_out_with_one_line(machine):
    machine.write(".mcp.json", json.dumps({"mcpServers": {"server": _server()}}))
    ran = machine.run("run", "x", "--engine", machine.script("Yes."))
    (line,) = [line for line in ran.stderr.splitlines() if ".mcp.json" in line]
    assert ran.returncode == 0
    assert "is not trusted" in line
    assert "agentrt config trust" in line
    assert "server__shout" in machine.run("tools", "--trust-project").stdout
    assert "server__shout" not in machine.run("tools").stdout


def test_trust_shows_what_it_allows_and_lasts_until_that_changes(machine):
    def trusted():
        return "mcp_servers.server.command" in machine.run("config").stdout

    machine.write(".mcp.json", json.dumps({"mcpServers": {"server": _server()}}))
    assert not trusted()
    ran = machine.run("config", "trust")
    assert ran.returncode == 0
    assert f"start 'server': {json.dumps(SERVER_COMMAND.split())}" in ran.stderr
    assert trusted()
    machine.write(".mcp.json", json.dumps({"mcpServers": {"server": {**_server(), "env": {"A": "1"}}}}))
    assert not trusted()
    machine.run("config", "trust")
    assert trusted()
    machine.run("config", "trust", "--forget")
    assert not trusted()


def test_at_a_terminal_trust_is_a_question(machine):
    machine.write("agentrt.toml", 'tool_files = ["tools.py"]\n')
    child = machine.spawn("config", "trust")
    child.expect("load Python code: tools.py")
    child.expect("Trust it")
    child.sendline("n")
    child.wait()
    assert child.exitstatus == 1
    assert machine.run("tools").stdout == ""
    child = machine.spawn("tools")
    child.expect("Trust it")
    child.sendline("o")
    child.expect("temperature")
    child.wait()
    assert machine.run("tools").stdout == ""


def test_other_hosts_servers_are_listed_and_used_by_name(machine):
    cursor = machine.home / ".cursor/mcp.json"
    cursor.parent.mkdir()
    cursor.write_text(json.dumps({"mcpServers": {"server": _server()}}))
    ran = machine.run("config", "import")
    assert f"cursor: {cursor}" in ran.stdout
    assert f"server: {SERVER_COMMAND}" in ran.stdout
    assert "mcp_servers.server" not in machine.run("config").stdout
    assert "server__shout" in machine.run("tools", "--import", "cursor").stdout


def test_without_config_nothing_is_read_that_was_not_named(machine):
    machine.write("agentrt.toml", 'tools = ["calculator"]\n')
    named = machine.write("other.toml", 'tools = ["clock"]\n')
    assert machine.run("tools", "--no-config").stdout == ""
    assert "calculate" not in machine.run("tools", "--config", str(named)).stdout
    assert "calculate" in machine.run("tools").stdout

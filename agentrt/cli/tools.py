"""``agentrt tools`` and ``agentrt call``: what is on offer, and one call through the gate without a model."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from agentrt.agent import Agent
from agentrt.cli import compose
from agentrt.cli.door import asker_at, welcome
from agentrt.cli.flags import ConfigFlags, OutputFlags, ToolFlags
from agentrt.cli.guard import DONE, ENDED
from agentrt.cli.render import Live
from agentrt.cli.signals import Loop
from agentrt.cli.sources import BestEffort, McpServer, Sources, toolsets
from agentrt.cli.terminal import Terminal, bounded, clean
from agentrt.combine import Combined
from agentrt.contract import Gate
from agentrt.engines.scripted import ScriptedEngine, calls
from agentrt.errors import ToolsetError, lone_errors
from agentrt.events import (
    CallFinished,
    CallProgress,
    CallRepaired,
    CallStarted,
    Event,
    RunStarted,
    ToolRefused,
    to_json,
)
from agentrt.limits import Limits
from agentrt.question import standing_at
from agentrt.types import ToolCall, ToolResult, ToolSpec


def list_tools(tools: ToolFlags, config: ConfigFlags, *, schema: bool, as_json: bool) -> int:
    """Print what is on offer."""
    terminal = Terminal(quiet=as_json)
    found = compose.sources(compose.configuration(config, tools, terminal), tools)
    with Loop() as loop:
        specs = loop.run(partial(_specs, found, terminal))
    gate = Gate(specs)
    for spec, why in gate.refused:
        terminal.note(f"tool {spec.name!r} of {spec.source} is left out: {why}")
    if as_json:
        for spec in gate.specs:
            print(json.dumps(to_json(spec)))
    else:
        _show_specs(gate.specs, schema=schema)
    return DONE


def list_contracts(tools: ToolFlags, config: ConfigFlags, *, as_json: bool) -> int:
    """Print what a decoding grammar enforces of each tool's schema, and what is left to the gate."""
    from agentrt.engines.grammar import contract_for

    terminal = Terminal(quiet=as_json)
    found = compose.sources(compose.configuration(config, tools, terminal), tools)
    with Loop() as loop:
        specs = loop.run(partial(_specs, found, terminal))
    contracts = [(spec, contract_for(spec.input_schema)) for spec in Gate(specs).specs]
    if as_json:
        for spec, contract in contracts:
            print(json.dumps({"name": spec.name, "contract": contract.level, "left_to_gate": list(contract.notes)}))
        return DONE
    words = {"enforced": "enforced", "partly": "partly enforced", "checked": "checked only"}
    rows = [(spec.name, words[contract.level], "; ".join(contract.notes)) for spec, contract in contracts]
    _table(("tool", "contract", "left to the gate"), rows, empty="there are no tools; name some with --mcp or --tool")
    return DONE


def list_servers(tools: ToolFlags, config: ConfigFlags, *, as_json: bool) -> int:
    """Print the state of each MCP server."""
    terminal = Terminal(quiet=as_json)
    found = compose.sources(compose.configuration(config, tools, terminal), tools)
    with Loop() as loop:
        states = loop.run(partial(server_states, found, terminal))
    if as_json:
        for state in states:
            print(json.dumps(state))
        return DONE
    columns = ("name", "state", "protocol", "tools", "can", "server", "origin", "notes")
    rows = [[_cell(state.get(column, "")) for column in columns] for state in states]
    _table(columns, rows, empty="there are no MCP servers; name some with --mcp, --mcp-config or in agentrt.toml")
    return DONE


def call_tool(tool: str, arguments: str, tools: ToolFlags, output: OutputFlags, config: ConfigFlags) -> int:
    """Make one call and print its result."""
    terminal = Terminal(quiet=output.quiet or output.json)
    found = compose.sources(compose.configuration(config, tools, terminal), tools)
    text = sys.stdin.read() if arguments == "-" else arguments
    with Loop() as loop:
        result = loop.run(partial(_call, found, ToolCall("", tool, text), terminal))
    if output.json:
        print(json.dumps(to_json(result)))
    elif result.error:
        terminal.note(result.text, "bad")
        if not found.tools:
            terminal.note("Name some with --pack, --tool or --mcp, or in agentrt.toml.")
    else:
        print(clean(result.text) if terminal.answers_live else result.text)
    return ENDED if result.error else DONE


@asynccontextmanager
async def _open(found: Sources, terminal: Terminal) -> AsyncIterator[Combined]:
    """The tools, opened, with what there is to say of the servers said."""
    combined = Combined(toolsets(found.tools))
    terminal.wait_for("opening the tools")
    async with terminal.spinner(), combined:
        await combined.specs()
        terminal.wait_for("")
        for note in compose.notes(found):
            terminal.note(note)
        yield combined


async def _specs(found: Sources, terminal: Terminal) -> Sequence[ToolSpec]:
    async with _open(found, terminal) as toolset:
        return await toolset.specs()


async def _call(found: Sources, call: ToolCall, terminal: Terminal) -> ToolResult:
    """One turn of a model that makes just this call."""
    live = Live(terminal)
    welcome(found, terminal)

    async def emit(event: Event) -> None:
        if isinstance(event, RunStarted):
            for note in compose.notes(found):
                terminal.note(note)
        elif isinstance(event, ToolRefused | CallRepaired | CallStarted | CallProgress | CallFinished):
            await live(event)

    limits = Limits(turns=1, result_chars=sys.maxsize)
    agent = Agent(ScriptedEngine([calls(call)], name="no model"), tools=found.tools, limits=limits)
    terminal.wait_for("opening the tools")
    async with terminal.spinner():
        with standing_at(asker_at(terminal)):
            result = (await agent.run(f"Call {call.name}.", emit=emit)).transcript[-1]
    assert isinstance(result, ToolResult), "a turn with a call ends with its result"
    return result


def _show_specs(specs: Sequence[ToolSpec], *, schema: bool) -> None:
    if schema:
        for spec in specs:
            print(f"{clean(spec.name)} ({clean(spec.source)}, {_effect(spec)})\n{_indented(spec)}\n")
        return
    _table(
        ("tool", "source", "", "what it does"),
        [(spec.name, spec.source, _effect(spec), bounded(spec.description, 200)) for spec in specs],
        empty="there are no tools; name some with --mcp, --tool or --pack, or in agentrt.toml",
    )


def _indented(spec: ToolSpec) -> str:
    parts = [clean(spec.description.strip()), f"input: {_json(spec.input_schema)}"]
    if spec.output_schema is not None:
        parts.append(f"output: {_json(spec.output_schema)}")
    return "\n".join(f"  {line}" for part in parts for line in part.splitlines())


def _json(schema: object) -> str:
    return clean(json.dumps(schema, ensure_ascii=False, indent=2))


def _effect(spec: ToolSpec) -> str:
    return "reads" if spec.read_only else "writes"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Columns for people, plain tab-separated lines for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(clean(cell).replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print(empty)
        return
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    Console().print(table)


async def server_states(found: Sources, terminal: Terminal) -> list[dict[str, Any]]:
    """Each MCP server after it was opened by itself, so that one that fails does not hide the others."""
    states: list[dict[str, Any]] = []
    terminal.wait_for("starting the servers")
    async with terminal.spinner(), lone_errors() as group:
        for server in found.servers:
            states.append({"name": server.name, "origin": server.origin})
            group.start_soon(_state, server, states[-1])
    return states


async def _state(server: McpServer, state: dict[str, Any]) -> None:
    toolset = server.toolset.inner if isinstance(server.toolset, BestEffort) else server.toolset
    if toolset is None:
        state |= {"state": "left out", "notes": [server.note]}
        return
    connected = server.connected
    try:
        async with toolset:
            specs = await toolset.specs()
            told = " ".join(part for part in (connected.server_name, connected.server_version) if part)
            state |= {"state": "up", "server": told, "protocol": connected.protocol_version, "tools": len(specs)}
            state["can"] = list(connected.capabilities)
            state["notes"] = list(connected.notes)
    except ToolsetError as error:
        state |= {"state": "failed", "notes": [str(error)]}


def _cell(value: Any) -> str:
    return "; ".join(value) if isinstance(value, list) else str(value)

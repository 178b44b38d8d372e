"""``agentrt plan``: how many GPUs a model needs for a team, how fast it could be, and what it costs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from agentrt.cli.flags import with_flags
from agentrt.cli.guard import DONE, guarded
from agentrt.errors import ConfigError

if TYPE_CHECKING:
    from agentrt.plan.money import ApiPrice
    from agentrt.plan.planner import Request

app = Typer(rich_markup_mode=None)


def _flag(panel: str, name: str, words: str, metavar: str | None = "N") -> Any:
    return Option(name, metavar=metavar, help=words, rich_help_panel=panel)


_WORK, _SERVER, _MONEY, _OUTPUT = "What the team does", "The server", "Money, in dollars", "Output"


@dataclass(frozen=True, slots=True)
class WorkFlags:
    """The load."""

    developers: Annotated[int, _flag(_WORK, "--developers", "How many.")] = 10
    sessions: Annotated[float, _flag(_WORK, "--sessions", "Sessions that each has open at once.")] = 2.0
    context: Annotated[int, _flag(_WORK, "--context", "Tokens of each session.")] = 65_536
    tool_wait: Annotated[
        float, _flag(_WORK, "--tool-wait", "Share of a session's time spent waiting for tools or people.", "0-1")
    ] = 0.5
    turn_input: Annotated[int, _flag(_WORK, "--turn-input", "New prompt tokens a turn.")] = 2_000
    turn_output: Annotated[int, _flag(_WORK, "--turn-output", "Output tokens a turn.")] = 400
    cache_hit: Annotated[float, _flag(_WORK, "--cache-hit", "Share of the prefix found cached.", "0-1")] = 0.95
    hold: Annotated[
        str, _flag(_WORK, "--hold", "Keep the caches of all open sessions, or of the active.", "all|active")
    ] = "all"
    min_speed: Annotated[float, _flag(_WORK, "--min-speed", "Output tokens/s that a session must see.")] = 20.0
    hours: Annotated[float, _flag(_WORK, "--hours", "Hours a month that a developer's sessions run.")] = 80.0


@dataclass(frozen=True, slots=True)
class ServerFlags:
    """The hardware and how well it is used."""

    gpu: Annotated[str, _flag(_SERVER, "--gpu", "H100, H200, B200, A100, L40S; 8xH100 says you have 8.", "GPU")] = (
        "H100"
    )
    quant: Annotated[str, _flag(_SERVER, "--quant", "How the weights are stored.", "native|bf16|fp8|int4|mxfp4")] = (
        "native"
    )
    kv_dtype: Annotated[str, _flag(_SERVER, "--kv-dtype", "The cache's numbers.", "auto|fp8")] = "auto"
    dcp: Annotated[
        bool, Option("--dcp/--no-dcp", help="Spread a latent (MLA) cache over ranks.", rich_help_panel=_SERVER)
    ] = True
    utilisation: Annotated[float, _flag(_SERVER, "--utilisation", "vLLM's --gpu-memory-utilization.", "0-1")] = 0.9
    runtime_gb: Annotated[
        float | None, _flag(_SERVER, "--runtime-gb", "GB a GPU that vLLM takes beside weights and caches.")
    ] = None
    compute: Annotated[float, _flag(_SERVER, "--compute-efficiency", "Share of dense BF16 FLOPs reached.", "0-1")] = (
        0.25
    )
    bandwidth: Annotated[
        float, _flag(_SERVER, "--bandwidth-efficiency", "Share of memory bandwidth reached.", "0-1")
    ] = 0.6


@dataclass(frozen=True, slots=True)
class MoneyFlags:
    """Prices."""

    gpu_price: Annotated[float | None, _flag(_MONEY, "--gpu-price", "A GPU.")] = None
    gpu_watts: Annotated[float | None, _flag(_MONEY, "--gpu-watts", "Watts a GPU.")] = None
    pue: Annotated[float, _flag(_MONEY, "--pue", "Power of the site over power of the machines.")] = 1.0
    kwh: Annotated[float | None, _flag(_MONEY, "--kwh", "A kilowatt-hour.")] = None
    years: Annotated[float, _flag(_MONEY, "--years", "Years that the purchase is spread over.")] = 3.0
    seat: Annotated[
        list[float], _flag(_MONEY, "--seat", "A subscription's month, 200 if not said; may be repeated.")
    ] = field(default_factory=list)
    api_input: Annotated[float | None, _flag(_MONEY, "--api-input", "API: a million new input tokens.")] = None
    api_output: Annotated[float | None, _flag(_MONEY, "--api-output", "API: a million output tokens.")] = None
    api_cached: Annotated[float | None, _flag(_MONEY, "--api-cached", "API: a million cached input tokens.")] = None


@dataclass(frozen=True, slots=True)
class PlanOutput:
    """What is written where."""

    json: Annotated[bool, Option("--json", help="The plan as JSON on stdout.", rich_help_panel=_OUTPUT)] = False
    plot: Annotated[
        Path | None, _flag(_OUTPUT, "--plot", "Write the break-even by team size: .svg, .html or .png.", "FILE")
    ] = None
    plot_to: Annotated[int | None, _flag(_OUTPUT, "--plot-to", "The largest team in the plot.")] = None


@app.command()
@guarded
@with_flags
def plan(
    model: Annotated[str | None, Argument(metavar="MODEL", help="A model's name, hub id or config.json.")] = None,
    *,
    work: WorkFlags,
    server: ServerFlags,
    money: MoneyFlags,
    output: PlanOutput,
) -> int:
    """Plan the GPUs, the pace and the cost of a model for a team. All figures are estimates; every assumption is said.

    Without MODEL: the published models, and the figures that people quote. Exit codes: 0 planned; 2 a mistake.
    """
    if model is None:
        return _overview(output)
    from agentrt.plan.planner import make_plan

    made = make_plan(_request(model, work, server, money, output))
    if output.plot is not None:
        from agentrt.plan import plot

        plot.write(made, output.plot)
        print(f"wrote {output.plot}", file=sys.stderr)
    if output.json:
        from agentrt.plan.output import document

        _print_json(document(made))
        return DONE
    from rich.console import Console

    from agentrt.plan.report import show

    show(made, Console())
    return DONE


def _overview(output: PlanOutput) -> int:
    if output.plot is not None:
        raise ConfigError("--plot needs a model, e.g. agentrt plan qwen3.6-35b-a3b --quant fp8 --plot plan.html")
    from agentrt.plan.overview import overview

    rows = overview()
    if output.json:
        from dataclasses import asdict

        from agentrt.plan.quotes import reference

        _print_json({"models": [asdict(row) for row in rows], "reference": asdict(reference())})
        return DONE
    from rich.console import Console

    from agentrt.plan.report import show_overview, show_quotes

    console = Console()
    show_overview(rows, console)
    show_quotes(console)
    return DONE


def _request(model: str, work: WorkFlags, server: ServerFlags, money: MoneyFlags, output: PlanOutput) -> Request:
    from agentrt.plan.planner import Request
    from agentrt.plan.roofline import Pace
    from agentrt.plan.sizing import Work

    if work.hold not in ("all", "active"):
        raise ConfigError(f"--hold is 'all' or 'active', not {work.hold!r}")
    load = Work(
        work.developers, work.sessions, work.context, work.tool_wait, work.turn_input, work.turn_output,
        work.cache_hit, work.hold == "all", work.min_speed,
    )  # fmt: skip
    largest = output.plot_to if output.plot_to is not None else max(100, 2 * work.developers)
    return Request(
        model, server.gpu, server.quant, load, Pace(server.compute, server.bandwidth), server.kv_dtype,
        server.utilisation, server.runtime_gb, server.dcp, money.gpu_price, money.gpu_watts, money.pue, money.kwh,
        money.years, work.hours, tuple(money.seat or (200.0,)), _api(money),
        largest if output.plot or output.json else 0,
    )  # fmt: skip


def _api(money: MoneyFlags) -> ApiPrice | None:
    from agentrt.plan.money import ApiPrice

    given = (money.api_input, money.api_output)
    if given == (None, None) and money.api_cached is None:
        return None
    fresh, output = given
    if fresh is None or output is None or not 0 <= min(fresh, output, money.api_cached or 0) < float("inf"):
        raise ConfigError("an API price needs --api-input and --api-output, in dollars a million tokens, 0 or more")
    cached = fresh if money.api_cached is None else money.api_cached
    return ApiPrice(fresh, output, cached, "given on the command line")


def _print_json(value: object) -> None:
    import orjson

    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

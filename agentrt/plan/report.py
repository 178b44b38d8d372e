"""A plan as tables for the terminal, with every assumption said."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentrt.plan.gpus import GPUS
from agentrt.plan.memory import Layout
from agentrt.plan.models import by_quantisation
from agentrt.plan.overview import Line
from agentrt.plan.planner import Cost, Plan
from agentrt.plan.quotes import quotes
from agentrt.plan.shapes import checkpoint_bytes

Row = tuple[str, ...]


def show(plan: Plan, console: Console) -> None:
    """Print the whole plan."""
    console.print(f"[bold]{escape(plan.model.name)}[/] on {_hardware(plan)}: {_verdict(plan)}\n")
    console.print(_table("Model", ("", ""), _model_rows(plan)))
    console.print(_table("Memory of one GPU, and what fits", ("", ""), _memory_rows(plan)))
    console.print(
        _table("Pace: estimates from a roofline, not measured", ("", "at your load", "full"), _pace_rows(plan))
    )
    heads = ("", *(cost.basis.name for cost in plan.costs))
    console.print(_table("Money in dollars", heads, _money_rows(plan)))
    console.print("[bold]vLLM[/]")
    for line in plan.command:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print("\n[bold]Assumed[/] (each is an option)")
    for line in _assumptions(plan):
        console.print(f"  {line}", highlight=False)
    console.print()
    show_quotes(console)


def show_quotes(console: Console) -> None:
    """Print the figures that people quote, and where they mislead."""
    table = Table(title="What people quote", title_justify="left", title_style="bold", show_lines=True)
    for head in ("quoted", "computed", "what it leaves out"):
        table.add_column(head)
    for quote in quotes():
        table.add_row(quote.claim, quote.computed, quote.misleads)
    console.print(table)


def show_overview(lines: list[Line], console: Console) -> None:
    """Print the published models, one a row."""
    names = [gpu.name for gpu in GPUS]
    heads = ("model", "parameters", "active", "stored", "weights", "KV a token", *names)
    rows = [
        (
            line.name, parameters(line.parameters), parameters(line.active_parameters), line.quantisation,
            gigabytes(line.weight_bytes), f"{line.kv_bytes_per_token:,.0f} B",
            *(str(line.needed[name] or "-") for name in names),
        )
        for line in lines
    ]  # fmt: skip
    console.print(_table("Published models, and the fewest GPUs for one session of 32,768 tokens", heads, rows))


def _table(title: str, heads: tuple[str, ...], rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(heads))
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 or len(heads) == 2 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _hardware(plan: Plan) -> str:
    nodes = f" in {plan.nodes} nodes" if plan.nodes > 1 else ""
    return f"{plan.choice.gpus} x {plan.gpu.title}{nodes}"


def _verdict(plan: Plan) -> str:
    work = plan.request.work
    team = f"{_many(work.developers, 'developer')} with {_many(work.sessions, 'session')} each"
    needed = plan.needed.gpus if plan.needed else None
    if plan.asked_gpus is None:
        return f"the fewest that carry {team}"
    if not plan.asked_fits:
        held = f"it and a session of {work.context:,} tokens"
        return f"[red]{plan.asked_gpus} can't hold {held}[/]; these are the fewest that carry {team}"
    if plan.asked_meets:
        return f"[green]carries {team}[/] ({needed} would do)"
    return f"[yellow]too few for {team}[/]; {f'{needed} are needed' if needed else 'no number is enough'}"


def _many(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def gigabytes(count: float) -> str:
    """``1.03 TB``, ``594 GB`` or ``61.1 GB``: decimal units, as on datasheets."""
    if count >= 1e12:
        return f"{count / 1e12:.2f} TB"
    return f"{count / 1e9:.0f} GB" if count >= 1e11 else f"{count / 1e9:.1f} GB"


def parameters(count: float) -> str:
    """``1.026T``, ``31.7B``."""
    return f"{count / 1e12:.3f}T" if count >= 1e12 else f"{count / 1e9:.1f}B"


def _model_rows(plan: Plan) -> list[Row]:
    shape, context = plan.model.shape, plan.request.work.context
    value = 1.0 if plan.request.kv_dtype == "fp8" else 2.0
    stored = ", ".join(f"{name} {gigabytes(checkpoint_bytes(shape, q))}" for name, q in by_quantisation(shape).items())
    rows: list[Row] = [
        ("parameters", f"{parameters(shape.total())}, active {parameters(shape.active())}"),
        ("experts", f"{shape.experts}, {shape.top_k} a token" if shape.experts else "none (dense)"),
        ("weights", f"{plan.model.quantisation.name} {gigabytes(checkpoint_bytes(shape, plan.model.quantisation))}"),
        ("in other forms", stored),
        ("KV cache a token", f"{shape.kv_token_bytes(value):,.0f} bytes{_windows(plan, value)}"),
        (f"a session of {context:,}", gigabytes(shape.kv_session_bytes(context, value))),
    ]
    if plan.model.published:
        rows.append(("sizes from", plan.model.published.source))
        rows += [("note", note) for note in plan.model.published.notes]
        rows += [("not verified", what) for what in plan.model.published.unverified]
    return rows


def _windows(plan: Plan, value: float) -> str:
    beyond = plan.model.shape.kv_token_bytes(value, windows=True)
    return f", {beyond:,.0f} past the sliding window" if beyond < plan.model.shape.kv_token_bytes(value) else ""


def _memory_rows(plan: Plan) -> list[Row]:
    fit, gpu, latent = plan.choice.fit, plan.gpu, plan.model.shape.latent
    shared = "; a latent cache is whole on each tensor-parallel rank" if latent and fit.layout.dcp == 1 else ""
    return [
        ("layout", f"{_layout(fit.layout)}, {plan.choice.copies} {'copies' if plan.choice.copies > 1 else 'copy'}"),
        ("memory", f"{gigabytes(gpu.memory_bytes)}, {plan.request.utilisation:.0%} of it for vLLM"),
        ("weights", gigabytes(fit.weight_bytes)),
        ("runtime", f"{gigabytes(gpu.runtime_bytes)} (estimate)"),
        ("left for caches", gigabytes(fit.kv_bytes)),
        ("one session", gigabytes(fit.session_bytes) + shared),
        ("sessions that fit", f"{plan.choice.sessions:,} (open: {plan.request.work.open_sessions:g})"),
        ("GPUs needed", "no number is enough" if plan.needed is None else str(plan.needed.gpus)),
    ]


def _layout(layout: Layout) -> str:
    named = (("tp", layout.tp), ("pp", layout.pp), ("dp", layout.dp), ("dcp", layout.dcp))
    words = [f"{name} {size}" for name, size in named if size > 1] or ["one GPU"]
    return ", ".join([*words, "ep"] if layout.ep else words)


def _pace_rows(plan: Plan) -> list[Row]:
    turns, copies, context = (plan.choice.turn, plan.full), plan.choice.copies, plan.request.work.context
    steps = [plan.roofline.decode(max(1.0, turn.batch), context) for turn in turns]
    prefill = f"{copies / plan.roofline.prefill_seconds(context):,.0f}"
    rows = [
        ("active sessions", *(f"{turn.batch * copies:,.0f}" for turn in turns)),
        ("prefill tokens/s, alone", prefill, prefill),
        ("decode step, bound by", *(f"{step.seconds * 1e3:.1f} ms, {step.bound}" for step in steps)),
        ("output tokens/s a session", *(f"{turn.session_tokens_per_second:,.0f}" for turn in turns)),
        ("output tokens/s in all", *(f"{turn.tokens_per_second * copies:,.0f}" for turn in turns)),
        ("seconds a turn", *(f"{turn.seconds:.1f}" for turn in turns)),
        ("turns/s in all", *(f"{turn.turns_per_second * copies:,.2f}" for turn in turns)),
    ]
    if plan.model.shape.experts:
        rows.insert(3, ("experts touched a layer", *(f"{step.experts_touched:.0f}" for step in steps)))
    return rows


def _money_rows(plan: Plan) -> list[Row]:
    rows = [
        _costs(plan, "purchase", "capital", "{:,.0f}"),
        _costs(plan, "power a month", "power_month", "{:,.0f}"),
        _costs(plan, f"a month over {plan.request.years:g} years", "total_month", "{:,.0f}"),
        _costs(plan, "a GPU-second", "gpu_second", "{:.6f}"),
        _costs(plan, "a million output tokens and their input, your load", "per_million_output", "{:,.2f}"),
        _costs(plan, "the same, full day and night", "per_million_output_full", "{:,.2f}"),
        _costs(plan, f"a session of {plan.request.work.turns_per_session:.0f} turns", "per_session", "{:,.2f}"),
    ]
    developers = plan.request.work.developers
    for number, one in enumerate(plan.alternatives):
        name = f"break-even against {one.name} ({one.monthly(developers):,.0f} a month)"
        rows.append((name, *(_months(cost, number) for cost in plan.costs)))
    if plan.api is None:
        rows.append(("break-even against an API", "no price known: pip install genai-prices, or pass --api-input", ""))
    return rows


def _costs(plan: Plan, label: str, field: str, pattern: str) -> Row:
    return label, *(pattern.format(getattr(cost, field)) for cost in plan.costs)


def _months(cost: Cost, number: int) -> str:
    months = cost.break_even[number][1]
    if months is None:
        return "never"
    return f"{months:,.0f} months" if months <= 240 else f"{months / 12:,.0f} years"


def _assumptions(plan: Plan) -> Iterator[str]:
    request, work = plan.request, plan.request.work
    basis = plan.costs[0].basis
    yield (
        f"work: {work.developers} developers, {work.sessions:g} sessions each, all at {work.context:,} tokens, waiting "
        f"{work.tool_wait:.0%} of the time; turns of {work.turn_input:,} tokens in and {work.turn_output:,} out; "
        f"{work.cache_hit:.0%} of the prefix cached; caches held for {'all' if work.hold_all else 'active'} sessions; "
        f"at least {work.min_speed:g} output tokens/s a session; {request.hours:g} hours a month"
    )
    yield (
        f"server: {request.pace.compute:.0%} of dense BF16 FLOPs, {request.pace.bandwidth:.0%} of bandwidth, "
        f"{request.pace.step_seconds * 1e3:g} ms a step and {request.pace.exchange_seconds * 1e6:g} us an exchange; "
        f"KV cache {request.kv_dtype}"
    )
    yield (
        f"money: ${basis.price:,.0f} and {basis.watts:g} W a GPU, at full draw day and night, PUE {basis.pue:g}, "
        f"${basis.kwh:g} a kWh; whole server: {plan.costs[1].basis.price_factor:g} x price, "
        f"{plan.costs[1].basis.watts_factor:.2f} x power, PUE {plan.costs[1].basis.pue:g}"
    )
    yield "not counted: people, network between nodes, space, interest, resale, spare parts"
    guessed = f"; guessed: {', '.join(plan.gpu.unverified)}" if plan.gpu.unverified else ""
    yield f"GPU figures: {plan.gpu.source}{guessed}"
    if plan.api is not None:
        yield (
            f"API: ${plan.api.input:g} in, ${plan.api.cached:g} cached, ${plan.api.output:g} out a million tokens "
            f"({plan.api.source}); a session is half full on average"
        )

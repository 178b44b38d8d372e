"""A whole plan: the model, the GPUs, the load, the pace and the money, worked out together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from agentrt.errors import ConfigError
from agentrt.plan import flags, gpus, models
from agentrt.plan.money import (
    HOURS_PER_MONTH,
    Alternative,
    ApiPrice,
    Basis,
    Usage,
    break_even_months,
    listed_price,
    seats,
    usage,
    whole_server,
)
from agentrt.plan.roofline import Pace, Roofline, Turn
from agentrt.plan.sizing import Choice, Sizer, Work

MAX_SEQUENCES = 256
"""Sessions that one copy runs at once at most; vLLM queues the rest."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; see the options of ``agentrt plan`` for each field."""

    model: str
    gpu: str = "H100"
    quant: str = "native"
    work: Work = field(default_factory=Work)
    pace: Pace = field(default_factory=Pace)
    kv_dtype: str = "auto"
    utilisation: float = 0.9
    runtime_gb: float | None = None
    dcp: bool = True
    gpu_price: float | None = None
    gpu_watts: float | None = None
    pue: float = 1.0
    kwh: float | None = None
    years: float = 3.0
    hours: float = 80.0
    seats: tuple[float, ...] = (200.0,)
    api: ApiPrice | None = None
    curve_to: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """A plan's money on one basis, in dollars."""

    basis: Basis
    capital: float
    power_month: float
    total_month: float
    gpu_second: float
    per_million_output: float
    per_million_output_full: float
    per_session: float
    break_even: tuple[tuple[Alternative, float | None], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A team of one size: its GPUs, and for each alternative the months on the first and on the last basis."""

    developers: int
    gpus: int
    months: tuple[tuple[float | None, float | None], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer. ``asked_gpus`` is the number that the user named, ``asked_fits`` whether it can hold the model and
    ``asked_meets`` whether it carries the load; ``choice`` is on that number where it fits, else on the fewest.
    """

    request: Request
    model: models.Model
    gpu: gpus.Gpu
    asked_gpus: int | None
    asked_fits: bool | None
    asked_meets: bool | None
    needed: Choice | None
    choice: Choice
    full: Turn
    roofline: Roofline
    used: Usage
    api: ApiPrice | None
    alternatives: tuple[Alternative, ...]
    costs: tuple[Cost, ...]
    curve: tuple[Point, ...]
    command: tuple[str, ...]

    @property
    def nodes(self) -> int:
        """Servers that the GPUs sit in."""
        return -(-self.choice.gpus // self.gpu.per_node)


def make_plan(request: Request) -> Plan:
    """Work a plan out.

    :raises ConfigError: if the model or GPU is not known, a number is impossible, or nothing can carry the load.
    """
    model, (gpu, asked) = models.find(request.model, request.quant), gpus.parse(request.gpu)
    gpu = _adjusted(request, gpu)
    sizer = _sizer(request, model, gpu)
    on_asked = sizer.on(asked) if asked else None
    needed, choice = _chosen(sizer, on_asked)
    full = _full(sizer, choice)
    used = _usage(request, choice)
    api = request.api or listed_price(model.published.api if model.published else None)
    alternatives = _alternatives(request, api, used)
    bases = _bases(request, gpu)
    costs = tuple(_cost(basis, request, choice, full, used, alternatives) for basis in bases)
    command = flags.serve_command(
        model, choice, context=request.work.context, kv_dtype=request.kv_dtype, utilisation=request.utilisation
    )
    return Plan(
        request=request, model=model, gpu=gpu,
        asked_gpus=asked, asked_fits=None if not asked else on_asked is not None,
        asked_meets=None if not asked else bool(on_asked and on_asked.meets),
        needed=needed, choice=choice, full=full, roofline=sizer.roofline(choice.fit), used=used,
        api=api, alternatives=alternatives, costs=costs,
        curve=tuple(_curve(request, sizer, bases, alternatives)), command=tuple(command),
    )  # fmt: skip


def _adjusted(request: Request, gpu: gpus.Gpu) -> gpus.Gpu:
    given = {
        "--gpu-price": request.gpu_price,
        "--gpu-watts": request.gpu_watts,
        "--runtime-gb": request.runtime_gb,
    }
    for name, value in given.items():
        if value is not None and not 0 <= value < math.inf:
            raise ConfigError(f"{name} must be a number, 0 or more, not {value!r}")
    return replace(
        gpu,
        price=gpu.price if request.gpu_price is None else request.gpu_price,
        watts=gpu.watts if request.gpu_watts is None else request.gpu_watts,
        runtime_bytes=gpu.runtime_bytes if request.runtime_gb is None else request.runtime_gb * 1e9,
    )


def _sizer(request: Request, model: models.Model, gpu: gpus.Gpu) -> Sizer:
    if request.kv_dtype not in ("auto", "fp8"):
        raise ConfigError(f"--kv-dtype is 'auto' (bfloat16) or 'fp8', not {request.kv_dtype!r}")
    return Sizer(
        model.shape, model.quantisation, gpu, request.work, request.pace,
        kv_value_bytes=1.0 if request.kv_dtype == "fp8" else 2.0,
        utilisation=request.utilisation, load_factor=model.load_factor, dcp=request.dcp,
    )  # fmt: skip


def _chosen(sizer: Sizer, on_asked: Choice | None) -> tuple[Choice | None, Choice]:
    """The fewest GPUs that carry the load (None if none do), and what the plan is made on."""
    try:
        needed = sizer.smallest()
    except ConfigError:
        if on_asked is None:
            raise
        return None, on_asked
    return needed, on_asked or needed


def _full(sizer: Sizer, choice: Choice) -> Turn:
    """The pace of one copy when every session that fits is active."""
    work = sizer.work
    batch = min(choice.fit.sessions, MAX_SEQUENCES * choice.fit.layout.dp)
    return sizer.roofline(choice.fit).turn(batch, work.context, work.prefill_tokens, work.turn_output)


def _usage(request: Request, choice: Choice) -> Usage:
    if not 0 < request.hours <= HOURS_PER_MONTH:
        raise ConfigError(f"--hours are those a developer works in a month, up to 730, not {request.hours!r}")
    work = request.work
    return usage(
        sessions=work.sessions, hours=request.hours, turn_seconds=choice.turn.seconds, tool_wait=work.tool_wait,
        turn_input=work.turn_input, turn_output=work.turn_output, context=work.context,
    )  # fmt: skip


def _alternatives(request: Request, api: ApiPrice | None, used: Usage) -> tuple[Alternative, ...]:
    found = seats(request.seats)
    if api is not None:
        found.append(Alternative("API", api.month(used)))
    return tuple(found)


def _bases(request: Request, gpu: gpus.Gpu) -> tuple[Basis, Basis]:
    if not (1 <= request.pue <= 10 and 0 < request.years <= 50 and 0 <= (request.kwh or 0) < math.inf):
        raise ConfigError("--pue must be from 1 to 10, --years more than 0 and at most 50, --kwh 0 or more")
    basis = Basis("GPUs only", gpu.price, gpu.watts, pue=request.pue, years=request.years)
    if request.kwh is not None:
        basis = replace(basis, kwh=request.kwh)
    return basis, whole_server(basis)


def _cost(
    basis: Basis, request: Request, choice: Choice, full: Turn, used: Usage, alternatives: tuple[Alternative, ...]
) -> Cost:
    developers, count = request.work.developers, choice.gpus
    month = basis.monthly(count)
    output = used.output_tokens * developers
    most = full.tokens_per_second * choice.copies * HOURS_PER_MONTH * 3600
    sessions = used.turns * developers / request.work.turns_per_session
    return Cost(
        basis=basis,
        capital=basis.capital(count),
        power_month=basis.power(count),
        total_month=month,
        gpu_second=basis.gpu_second(),
        per_million_output=month / output * 1e6,
        per_million_output_full=month / most * 1e6,
        per_session=month / sessions,
        break_even=tuple(
            (one, break_even_months(basis.capital(count), basis.power(count), one.monthly(developers)))
            for one in alternatives
        ),
    )


def _curve(
    request: Request, sizer: Sizer, bases: tuple[Basis, Basis], alternatives: tuple[Alternative, ...]
) -> list[Point]:
    """The break-even for teams of every size up to ``curve_to``, each on the fewest GPUs that carry it."""
    points: list[Point] = []
    steps = max(1, request.curve_to // 200)
    for developers in range(1, request.curve_to + 1, steps):
        try:
            count = sizer.smallest(developers).gpus
        except ConfigError:
            break
        months = tuple(
            (
                break_even_months(bases[0].capital(count), bases[0].power(count), one.monthly(developers)),
                break_even_months(bases[1].capital(count), bases[1].power(count), one.monthly(developers)),
            )
            for one in alternatives
        )
        points.append(Point(developers, count, months))
    return points

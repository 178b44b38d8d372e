"""The figures that people quote about a mixture of experts on an H100, recomputed, and where they mislead."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt.plan import gpus, models
from agentrt.plan.money import QUOTED_PRICE_PER_KWH, Basis, break_even_months, whole_server
from agentrt.plan.overview import fewest
from agentrt.plan.shapes import checkpoint_bytes

SEAT = 200.0


@dataclass(frozen=True, slots=True)
class Quote:
    """What is quoted, what the computation says, and what it leaves out."""

    claim: str
    computed: str
    misleads: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The quoted figures as numbers."""

    h100_price: float
    h100_watts: float
    power_month: float
    power_year: float
    seat_year: float
    k2_parameters: float
    k2_active: float
    k2_experts: int
    k2_experts_active: int
    k2_fp8_bytes: float
    k2_int4_bytes: float
    k2_fp8_h100s: int
    k2_int4_h200s: int
    small_moe_h100s: int


def reference() -> Reference:
    """The numbers, computed from the models' sizes and the cost basis that makes $90 a month of 0.7 kW."""
    h100, h200 = gpus.parse("H100")[0], gpus.parse("H200")[0]
    fp8, int4, small = models.find("kimi-k2"), models.find("kimi-k2.6"), models.find("qwen3.6-35b-a3b", "fp8")
    month = _quoted(h100).power(1)
    return Reference(
        h100_price=h100.price,
        h100_watts=h100.watts,
        power_month=month,
        power_year=month * 12,
        seat_year=SEAT * 12,
        k2_parameters=fp8.shape.total(),
        k2_active=fp8.shape.active(),
        k2_experts=fp8.shape.experts,
        k2_experts_active=fp8.shape.top_k,
        k2_fp8_bytes=checkpoint_bytes(fp8.shape, fp8.quantisation),
        k2_int4_bytes=checkpoint_bytes(int4.shape, int4.quantisation),
        k2_fp8_h100s=_needed(fp8, h100),
        k2_int4_h200s=_needed(int4, h200),
        small_moe_h100s=_needed(small, h100),
    )


def _quoted(gpu: gpus.Gpu) -> Basis:
    return Basis("GPU only", gpu.price, gpu.watts, kwh=QUOTED_PRICE_PER_KWH)


def _needed(model: models.Model, gpu: gpus.Gpu) -> int:
    count = fewest(model, gpu)
    assert count is not None, "the quoted models fit on some number of GPUs"
    return count


def quotes() -> list[Quote]:
    """Each quoted figure beside what it leaves out."""
    r = reference()
    basis = _quoted(gpus.parse("H100")[0])
    server = whole_server(basis)
    return [
        Quote(
            "an H100 costs $25,000 and draws 0.7 kW",
            f"${r.h100_price:,.0f}, {r.h100_watts / 1000:g} kW, both for the bare GPU",
            f"in a server with its cooling about ${server.capital(1):,.0f} and {_kilowatts(server):.1f} kW each",
        ),
        Quote(
            "$90 a month of power: $1,080 a year against $2,400 for a $200 seat",
            f"${r.power_month:,.0f} a month, ${r.power_year:,.0f} a year, against ${r.seat_year:,.0f}",
            f"true at ${QUOTED_PRICE_PER_KWH:g} a kWh for a GPU without its server (${server.power(1):,.0f} a month "
            "with it), and it sets one GPU against one seat, not the GPUs that a model needs",
        ),
        Quote(
            "K2: 1T parameters, 384 experts, 8 active, 32B active",
            f"{r.k2_parameters / 1e12:.3f}T, {r.k2_experts} experts, {r.k2_experts_active} active, "
            f"{r.k2_active / 1e9:.1f}B active",
            "active parameters set the speed; all parameters must be in memory: "
            f"{r.k2_fp8_bytes / 1e12:.2f} TB in FP8, {r.k2_int4_bytes / 1e9:.0f} GB in INT4",
        ),
        Quote(
            "so one H100 runs it",
            f"no: {r.k2_fp8_h100s} H100s for FP8, {r.k2_int4_h200s} H200s for INT4, for one session",
            f"{_payback(basis, r.k2_fp8_h100s, 8)} and {_payback(basis, r.k2_fp8_h100s, 100)}, if they carried "
            f"so many; what one H100 does run is a 30B-A3B class model ({_payback(basis, r.small_moe_h100s, 10)})",
        ),
    ]  # fmt: skip


def _kilowatts(basis: Basis) -> float:
    return basis.watts * basis.watts_factor * basis.pue / 1000


def _payback(basis: Basis, count: int, developers: int) -> str:
    months = break_even_months(basis.capital(count), basis.power(count), SEAT * developers)
    if months is None:
        return f"{developers} seats never pay for {count} H100s"
    if months > 120:
        return f"{developers} seats would pay for {count} H100s in {months / 12:,.0f} years"
    return f"{developers} seats pay for {count} H100{'s' if count > 1 else ''} in {months:.0f} months"

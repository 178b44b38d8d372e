"""A plan as JSON with stable keys, and the JSON Schema that it keeps."""

from __future__ import annotations

from typing import Any

from agentrt.plan.models import by_quantisation
from agentrt.plan.planner import Cost, Plan
from agentrt.plan.quotes import reference
from agentrt.plan.roofline import Turn
from agentrt.plan.shapes import checkpoint_bytes

VERSION = 1


def document(plan: Plan) -> dict[str, Any]:
    """Everything that the terminal table shows, in bytes, seconds, tokens and dollars."""
    return {
        "version": VERSION,
        "estimate": "computed from sizes and datasheets; nothing here was measured",
        "model": _model(plan),
        "gpus": _gpus(plan),
        "pace": {"at_load": _pace(plan.choice.turn, plan), "full": _pace(plan.full, plan)},
        "money": {
            "alternatives": [
                {"name": one.name, "per_developer_month": one.per_developer, "per_month": one.monthly(_team(plan))}
                for one in plan.alternatives
            ],
            "api_price": None if plan.api is None else _fields(plan.api, "input", "output", "cached", "source"),
            "bases": [_cost(cost) for cost in plan.costs],
            "developer_month": _fields(plan.used, "turns", "new_tokens", "cached_tokens", "output_tokens"),
        },
        "curve": [
            {"developers": p.developers, "gpus": p.gpus, "months": [list(pair) for pair in p.months]}
            for p in plan.curve
        ],
        "command": list(plan.command),
        "assumptions": _assumptions(plan),
        "reference": _fields(reference(), *type(reference()).__slots__),
    }


def _fields(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _team(plan: Plan) -> int:
    return plan.request.work.developers


def _model(plan: Plan) -> dict[str, Any]:
    model, shape, context = plan.model, plan.model.shape, plan.request.work.context
    known = model.published
    return {
        "name": model.name,
        "id": model.model_id,
        "family": shape.family,
        "parameters": shape.total(),
        "active_parameters": shape.active(),
        "active_parameters_with_embedding": shape.active(embedding=True),
        "prediction_parameters": shape.mtp,
        "experts": shape.experts,
        "experts_per_token": shape.top_k,
        "layers": shape.depth,
        "quantisation": model.quantisation.name,
        "weight_bytes": checkpoint_bytes(shape, model.quantisation),
        "weight_bytes_by_quantisation": {
            name: checkpoint_bytes(shape, quant) for name, quant in by_quantisation(shape).items()
        },
        "kv_bytes_per_token": shape.kv_token_bytes(_value_bytes(plan)),
        "kv_bytes_per_session": shape.kv_session_bytes(context, _value_bytes(plan)),
        "source": None if known is None else known.source,
        "card": None if known is None else _fields(known.card, "total", "active", "weight_bytes", "source"),
        "notes": [] if known is None else list(known.notes),
        "unverified": [] if known is None else list(known.unverified),
    }


def _value_bytes(plan: Plan) -> float:
    return 1.0 if plan.request.kv_dtype == "fp8" else 2.0


def _gpus(plan: Plan) -> dict[str, Any]:
    choice, fit = plan.choice, plan.choice.fit
    return {
        "gpu": plan.gpu.name,
        "source": plan.gpu.source,
        "unverified": list(plan.gpu.unverified),
        "asked": plan.asked_gpus,
        "asked_fits": plan.asked_fits,
        "asked_carries_load": plan.asked_meets,
        "needed": None if plan.needed is None else plan.needed.gpus,
        "planned": choice.gpus,
        "nodes": plan.nodes,
        "copies": choice.copies,
        "layout": {**_fields(fit.layout, "tp", "pp", "dp", "dcp"), "ep": fit.layout.ep},
        "memory_bytes": plan.gpu.memory_bytes,
        "runtime_bytes": plan.gpu.runtime_bytes,
        "weight_bytes_per_gpu": fit.weight_bytes,
        "kv_bytes_per_gpu": fit.kv_bytes,
        "session_bytes_per_gpu": fit.session_bytes,
        "concurrent_sessions": choice.sessions,
    }


def _pace(turn: Turn, plan: Plan) -> dict[str, Any]:
    copies, context = plan.choice.copies, plan.request.work.context
    roof = plan.roofline
    step = roof.decode(max(1.0, turn.batch), context)
    return {
        "active_sessions": turn.batch * copies,
        "decode_step_seconds": step.seconds,
        "decode_bound": step.bound,
        "experts_touched": step.experts_touched,
        "prefill_tokens_per_second": copies / roof.prefill_seconds(context),
        "first_token_seconds": turn.first_token_seconds,
        "turn_seconds": turn.seconds,
        "turns_per_second": turn.turns_per_second * copies,
        "output_tokens_per_second": turn.tokens_per_second * copies,
        "session_tokens_per_second": turn.session_tokens_per_second,
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "basis": cost.basis.name,
        **_fields(cost, "capital", "power_month", "total_month", "gpu_second"),
        **_fields(cost, "per_million_output", "per_million_output_full", "per_session"),
        "break_even_months": {one.name: months for one, months in cost.break_even},
    }


def _assumptions(plan: Plan) -> dict[str, Any]:
    request, work = plan.request, plan.request.work
    names = ("developers", "sessions", "context", "tool_wait", "turn_input", "turn_output", "cache_hit", "min_speed")
    return {
        **_fields(work, *names),
        "hold": "all" if work.hold_all else "active",
        **_fields(request, "kv_dtype", "utilisation", "years", "hours"),
        "gpu_price": plan.gpu.price,
        "gpu_watts": plan.gpu.watts,
        "pue": plan.costs[0].basis.pue,
        "kwh": plan.costs[0].basis.kwh,
        "compute_efficiency": request.pace.compute,
        "bandwidth_efficiency": request.pace.bandwidth,
    }


_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_MAYBE = {"type": ["number", "null"]}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_TEXTS = {"type": "array", "items": {"type": "string"}}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


_PACE = _object(
    active_sessions=_NUMBER, decode_step_seconds=_NUMBER, decode_bound={"enum": ["memory", "compute"]},
    experts_touched=_NUMBER, prefill_tokens_per_second=_NUMBER, first_token_seconds=_NUMBER, turn_seconds=_NUMBER,
    turns_per_second=_NUMBER, output_tokens_per_second=_NUMBER, session_tokens_per_second=_NUMBER,
)  # fmt: skip

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        version={"const": VERSION},
        estimate=_TEXT,
        model=_object(
            name=_TEXT, id=_TEXT, family=_TEXT, parameters=_COUNT, active_parameters=_COUNT,
            active_parameters_with_embedding=_COUNT, prediction_parameters=_COUNT, experts=_COUNT,
            experts_per_token=_COUNT, layers=_COUNT, quantisation=_TEXT, weight_bytes=_NUMBER,
            weight_bytes_by_quantisation={"type": "object", "additionalProperties": _NUMBER},
            kv_bytes_per_token=_NUMBER, kv_bytes_per_session=_NUMBER, source=_MAYBE_TEXT,
            card={"type": ["object", "null"]}, notes=_TEXTS, unverified=_TEXTS,
        ),
        gpus=_object(
            gpu=_TEXT, source=_TEXT, unverified=_TEXTS, asked={"type": ["integer", "null"]},
            asked_fits={"type": ["boolean", "null"]},
            asked_carries_load={"type": ["boolean", "null"]}, needed={"type": ["integer", "null"]}, planned=_COUNT,
            nodes=_COUNT, copies=_COUNT,
            layout=_object(tp=_COUNT, pp=_COUNT, dp=_COUNT, dcp=_COUNT, ep={"type": "boolean"}),
            memory_bytes=_NUMBER, runtime_bytes=_NUMBER, weight_bytes_per_gpu=_NUMBER, kv_bytes_per_gpu=_NUMBER,
            session_bytes_per_gpu=_NUMBER, concurrent_sessions=_COUNT,
        ),
        pace=_object(at_load=_PACE, full=_PACE),
        money=_object(
            alternatives={
                "type": "array", "items": _object(name=_TEXT, per_developer_month=_NUMBER, per_month=_NUMBER)
            },
            api_price={"type": ["object", "null"]},
            bases={
                "type": "array", "minItems": 2, "maxItems": 2,
                "items": _object(
                    basis=_TEXT, capital=_NUMBER, power_month=_NUMBER, total_month=_NUMBER, gpu_second=_NUMBER,
                    per_million_output=_NUMBER, per_million_output_full=_NUMBER, per_session=_NUMBER,
                    break_even_months={"type": "object", "additionalProperties": _MAYBE},
                ),
            },
            developer_month=_object(turns=_NUMBER, new_tokens=_NUMBER, cached_tokens=_NUMBER, output_tokens=_NUMBER),
        ),
        curve={
            "type": "array",
            "items": _object(
                developers=_COUNT, gpus=_COUNT,
                months={"type": "array", "items": {"type": "array", "items": _MAYBE, "minItems": 2, "maxItems": 2}},
            ),
        },
        command=_TEXTS,
        assumptions={"type": "object"},
        reference={"type": "object", "additionalProperties": _NUMBER},
    ),
}  # fmt: skip
"""The JSON Schema of :func:`document`; keys are added, never renamed, while the version stays."""

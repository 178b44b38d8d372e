"""The published models side by side: sizes, weights, and the GPUs that one session of each needs."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt.errors import ConfigError
from agentrt.plan import gpus, models
from agentrt.plan.published import MODELS
from agentrt.plan.shapes import checkpoint_bytes
from agentrt.plan.sizing import Sizer, Work

ONE_SESSION = Work(developers=1, sessions=1, context=32_768, min_speed=0)


@dataclass(frozen=True, slots=True)
class Line:
    """One model. ``needed`` are the fewest GPUs of each type that hold it and one session of 32,768 tokens."""

    name: str
    model_id: str
    parameters: int
    active_parameters: int
    quantisation: str
    weight_bytes: float
    kv_bytes_per_token: float
    needed: dict[str, int | None]


def overview() -> list[Line]:
    """Every published model as it is stored."""
    return [_line(models.find(known.name)) for known in MODELS]


def _line(model: models.Model) -> Line:
    return Line(
        name=model.name,
        model_id=model.model_id,
        parameters=model.shape.total(),
        active_parameters=model.shape.active(),
        quantisation=model.quantisation.name,
        weight_bytes=checkpoint_bytes(model.shape, model.quantisation),
        kv_bytes_per_token=model.shape.kv_token_bytes(),
        needed={gpu.name: fewest(model, gpu) for gpu in gpus.GPUS},
    )


def fewest(model: models.Model, gpu: gpus.Gpu) -> int | None:
    """The fewest GPUs that hold the model and one session, however slow; None if no number does."""
    sizer = Sizer(model.shape, model.quantisation, gpu, ONE_SESSION, load_factor=model.load_factor)
    try:
        return sizer.smallest().gpus
    except ConfigError:
        return None

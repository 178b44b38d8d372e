"""Which model a plan is for: a published one by its name, or any ``config.json`` on disk."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from agentrt.errors import ConfigError
from agentrt.plan import configs
from agentrt.plan.published import MODELS, Published
from agentrt.plan.shapes import BF16, EXPERTS, FP8, LINEAR, MXFP4, Quantisation, Shape, int4

QUANTS = ("native", "bf16", "fp8", "int4", "mxfp4")


@dataclass(frozen=True, slots=True)
class Model:
    """A model to plan for; ``published`` is None for a config of the user's own."""

    name: str
    model_id: str
    shape: Shape
    quantisation: Quantisation
    native: str
    published: Published | None = None

    @property
    def load_factor(self) -> float:
        """How much more than its file the weights take on a GPU."""
        return self.published.load_factor if self.published else 1.0

    @property
    def checkpoint(self) -> str | None:
        """What to give vLLM: the hub id or path of a checkpoint stored this way; None if none is known."""
        if self.published is None or self.quantisation.name == self.native:
            return self.model_id
        return self.published.variants.get(self.quantisation.name)


def find(asked: str, quant: str = "native") -> Model:
    """The model called ``asked``: a short name, a hub id, or a path to a ``config.json`` or its folder.

    :raises ConfigError: if there is no such model, its config can't be read, or the quantisation is not known.
    """
    known = _known(asked)
    if known is not None:
        shape, native = configs.read(known.config), configs.quantisation(known.config)
        return Model(known.name, known.model_id, shape, _stored(quant, shape, native), native.name, known)
    path = Path(asked).expanduser()
    if path.exists():
        config = configs.load(path)
        shape = configs.read(config)
        native = configs.quantisation(config) if quant == "native" else BF16
        name = path.name if path.is_dir() else path.resolve().parent.name
        return Model(name, str(path), shape, _stored(quant, shape, native), native.name)
    names = [model.name for model in MODELS]
    near = difflib.get_close_matches(asked.rsplit("/", 1)[-1].lower(), names, n=3, cutoff=0.4)
    raise ConfigError(
        f"unknown model {asked!r}; {'did you mean ' + ' or '.join(near) + '? ' if near else ''}"
        f"Known: {', '.join(names)}; or name a config.json on disk"
    )


def by_quantisation(shape: Shape) -> dict[str, Quantisation]:
    """The quantisations that weights can be compared in."""
    names = [name for name in QUANTS[1:] if shape.experts or name != "mxfp4"]
    return {name: _stored(name, shape, BF16) for name in names}


def _known(asked: str) -> Published | None:
    wanted = asked.lower()
    return next((model for model in MODELS if wanted in (model.name, model.model_id.lower())), None)


def _stored(quant: str, shape: Shape, native: Quantisation) -> Quantisation:
    match quant:
        case "native":
            return native
        case "bf16":
            return BF16
        case "fp8":
            return FP8
        case "int4":
            return int4(32, EXPERTS) if shape.experts else int4(128, LINEAR)
        case "mxfp4" if shape.experts:
            return MXFP4
        case "mxfp4":
            raise ConfigError("--quant mxfp4 packs experts only, and this model has none; use int4 or fp8")
    raise ConfigError(f"unknown --quant {quant!r}; one of {', '.join(QUANTS)}")

"""The vLLM commands for a plan, as text to read and copy; nothing is started here."""

from __future__ import annotations

from agentrt.plan.memory import Layout
from agentrt.plan.models import Model
from agentrt.plan.sizing import Choice


def serve_command(model: Model, choice: Choice, *, context: int, kv_dtype: str, utilisation: float) -> list[str]:
    """Shell lines that start one copy (or the head node of one), with the rest as comments."""
    layout = choice.fit.layout
    words = ["vllm serve", model.checkpoint or model.model_id, *_sizes(layout), "--max-model-len", str(context)]
    words += ["--gpu-memory-utilization", f"{utilisation:g}"]
    if kv_dtype != "auto":
        words += ["--kv-cache-dtype", kv_dtype]
    words += _parsers(model)
    lines = [" ".join(words)]
    if layout.pp > 1:
        lines.insert(0, f"# join the {layout.pp} nodes of a copy with Ray first; run the command on the first")
    if model.checkpoint is None:
        lines.insert(0, f"# no {model.quantisation.name} checkpoint is known: quantise it, then name yours")
    if choice.copies > 1:
        lines.insert(0, f"# {choice.copies} independent copies of this, each on its own GPUs, behind a load balancer")
    return lines


def _sizes(layout: Layout) -> list[str]:
    named = (
        ("--tensor-parallel-size", layout.tp),
        ("--pipeline-parallel-size", layout.pp),
        ("--decode-context-parallel-size", layout.dcp),
        ("--data-parallel-size", layout.dp),
    )
    words = [word for flag, value in named if value > 1 for word in (flag, str(value))]
    return [*words, "--enable-expert-parallel"] if layout.ep else words


def _parsers(model: Model) -> list[str]:
    known = model.published
    if known is None:
        return ["--enable-auto-tool-choice", "--tool-call-parser", "PARSER"]
    words = list(known.extra_flags)
    if model.model_id.startswith("moonshotai/"):
        words.insert(0, "--trust-remote-code")
    if known.tool_parser:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", known.tool_parser]
    if known.reasoning_parser:
        words += ["--reasoning-parser", known.reasoning_parser]
    return words

"""The checkpoint as an agentrt engine on Hugging Face's implementation: slow and plain, the reference."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import torch
from anyio import to_thread
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrt.engine import CallDelta, Delta, Finished, Request, TextDelta
from agentrt.types import Assistant, FinishReason, Message, ToolResult, Usage, User

_CALL = re.compile(
    r"<\|tool_call_begin\|>functions\.(?P<name>[^<]+?):\d+<\|tool_call_argument_begin\|>(?P<arguments>.*?)<\|tool_call_end\|>",
    re.DOTALL,
)
_END = "<|im_end|>"


class HuggingFace:
    """Greedy decoding without any constraint; what the model writes is what the gate sees."""

    name = "hf:tiny-moe"

    def __init__(self, checkpoint: Path, *, max_tokens: int = 256) -> None:
        torch.set_num_threads(1)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        self.model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.max_tokens = max_tokens

    def prompt(self, request: Request) -> str:
        """The request in the checkpoint's chat template."""
        tools = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.input_schema),
                },
            }
            for tool in sorted(request.tools, key=lambda tool: tool.name)
        ]
        said = [{"role": "system", "content": request.instructions}] if request.instructions else []
        said += [_message(message) for message in request.transcript]
        text: str = self.tokenizer.apply_chat_template(
            said, tools=tools or None, tokenize=False, add_generation_prompt=True
        )
        return text

    def generate(self, prompt: str, max_tokens: int) -> tuple[int, list[int]]:
        """The length of the prompt in tokens, and the ids that follow it."""
        ids = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            out = self.model.generate(ids, max_new_tokens=max_tokens, do_sample=False)
        return ids.shape[1], out[0, ids.shape[1] :].tolist()

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate the whole answer, then hand it out."""
        limit = request.max_tokens or self.max_tokens
        length, ids = await to_thread.run_sync(self.generate, self.prompt(request), limit)
        text = self.tokenizer.decode(ids)
        words, _, _ = text.partition("<|tool_calls_section_begin|>")
        if words := words.removesuffix(_END):
            yield TextDelta(words)
        found = list(_CALL.finditer(text))
        for at, match in enumerate(found):
            ident = f"functions.{match['name']}:{request.transcript.calls + at}"
            yield CallDelta(at, ident, match["name"], match["arguments"])
        reason: FinishReason = "tool_calls" if found else "stop"
        yield Finished(reason if text.endswith(_END) else "length", Usage(length, len(ids)))

    async def aclose(self) -> None:
        """Nothing is held."""


def _message(message: Message) -> dict[str, Any]:
    match message:
        case User(text=text):
            return {"role": "user", "content": text}
        case Assistant(text=text, calls=calls):
            listed = [{"id": call.id, "function": {"name": call.name, "arguments": call.arguments}} for call in calls]
            return {"role": "assistant", "content": text} | ({"tool_calls": listed} if listed else {})
        case ToolResult(call_id=ident, text=text):
            return {"role": "tool", "tool_call_id": ident, "content": text}

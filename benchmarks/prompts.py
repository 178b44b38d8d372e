"""What a model can do with tools, by kind of task: exact names and exact arguments, against canned results.

    python benchmarks/prompts.py [--engine embedded] [--half tune|held_out|all] [--class CLASS ...] [--guard] [--json]

A case passes if the run makes the expected calls with exactly the expected arguments and no other call, and ends with
words that contain the expected answer. The prompt and the biases of the embedded engine were set with the cases of
prompts/tune.json alone; those of prompts/held_out.json were written before that and looked at only afterwards.
With --guard a call whose arguments nobody mentioned is refused once, as the command line does for this engine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from agentrt import Agent, Limits, ToolResult, ToolSpec, Transcript
from agentrt.events import CallRejected
from agentrt.plugins import engine_from
from agentrt.policy.grounding import ungrounded
from agentrt.policy.permissions import Permissions

HERE = Path(__file__).parent / "prompts"
HALVES = ("tune", "held_out")
CLASSES = {
    "one": "one tool",
    "five": "one of five tools",
    "twenty": "one of twenty tools",
    "arguments": "shapes of arguments",
    "parallel": "two things in one wish",
    "abstain": "no tool is right",
    "chain": "several steps",
    "main": "the example's question",
}
LIMITS = Limits(turns=8, identical_calls=2, rejected_turns=3, seconds=600)


class WrongCall(Exception):
    """A call that the case does not expect."""


@dataclass
class Canned:
    """A toolset that answers the expected calls, and no others."""

    specs_: tuple[ToolSpec, ...]
    left: list[dict] = field(default_factory=list)
    any_order: bool = False
    wrong: str = ""

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        return None

    async def specs(self):
        return self.specs_

    async def call(self, call, progress):
        for expected in self.left if self.any_order else self.left[:1]:
            allowed = expected["arguments"]
            if call.name == expected["tool"] and call.arguments in (
                allowed if isinstance(allowed, list) else [allowed]
            ):
                self.left.remove(expected)
                return ToolResult(call.id, call.name, expected["result"])
        self.wrong = f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}"
        return ToolResult(call.id, call.name, "this call was not expected", error=True)


@dataclass
class Score:
    case: dict
    passed: bool
    why: str
    steps: int
    rejected: int
    seconds: float
    prompt_tokens: int
    completion_tokens: int


def contains(text: str, answers: list) -> bool:
    said = text.lower()
    return all(
        any(word.lower() in said for word in (answer if isinstance(answer, list) else [answer])) for answer in answers
    )


async def run_turn(agent: Agent, tools: Canned, transcript: Transcript, turn: dict):
    """One wish of the user; return why it went wrong (or nothing), the result and the calls that were turned away."""
    tools.left, tools.any_order, tools.wrong = list(turn["expect"]), turn.get("any_order", False), ""
    rejected = 0
    async with agent.stream(turn["user"], transcript=transcript) as events, aclosing(aiter(events)) as each:
        async for event in each:
            rejected += isinstance(event, CallRejected)
            if tools.wrong:
                return f"called {tools.wrong}", None, rejected
    result = events.result
    if tools.left:
        return f"did not call {tools.left[0]['tool']}, said {result.text!r}", result, rejected
    if result.reason != "done":
        return f"ended with {result.reason!r}", result, rejected
    if not contains(result.text, turn.get("answer", [])):
        return f"answered {result.text!r}", result, rejected
    return "", result, rejected


async def run_case(engine, case: dict, catalogue: dict[str, ToolSpec], guard: bool) -> Score:
    tools = Canned(tuple(catalogue[name] for name in case["tools"]))
    permit = Permissions("full", ungrounded=grounds) if guard else None
    transcript, start = Transcript(), time.perf_counter()
    steps = rejected = prompt = completion = 0
    why = ""
    async with Agent(engine, tools=[tools], limits=LIMITS, permit=permit) as agent:
        for turn in case["turns"]:
            why, result, away = await run_turn(agent, tools, transcript, turn)
            rejected += away
            if result is not None:
                steps += result.turns
                prompt += result.usage.prompt_tokens - result.usage.cached_tokens
                completion += result.usage.completion_tokens
            if why:
                break
    return Score(case, not why, why, steps, rejected, time.perf_counter() - start, prompt, completion)


def grounds(call, transcript):
    return ungrounded(call.arguments, transcript, spec=call.spec)


def read(half: str, classes: list[str]) -> list[dict]:
    cases = json.loads((HERE / f"{half}.json").read_text(encoding="utf-8"))
    chosen = [case for case in cases if not classes or case["class"] in classes]
    # cases with the same tools one after another, as a person's are: the engine reads their list once
    return sorted(chosen, key=lambda case: case["tools"])


def table(scores: list[Score], half: str) -> None:
    by_class = defaultdict(list)
    for score in scores:
        by_class[score.case["class"]].append(score)
    print(f"\n{half}: passed / cases, calls turned away by the gate or the guard, seconds a case")
    for name, title in CLASSES.items():
        if found := by_class.get(name):
            away, seconds = sum(score.rejected for score in found), sum(score.seconds for score in found) / len(found)
            print(f"  {title:24} {sum(s.passed for s in found):3} / {len(found):<3} {away:4} {seconds:8.1f}")
    seconds, written = sum(score.seconds for score in scores), sum(score.completion_tokens for score in scores)
    passed = sum(score.passed for score in scores)
    print(f"  {'all':24} {passed:3} / {len(scores):<3} {seconds:13.0f} s in all, {written} tokens written")


async def main(arguments: argparse.Namespace) -> None:
    made = json.loads((HERE / "tools.json").read_text(encoding="utf-8"))
    catalogue = {item["name"]: ToolSpec(**item) for item in made}
    engine = engine_from(arguments.engine)
    try:
        for half in HALVES if arguments.half == "all" else (arguments.half,):
            scores = []
            for case in read(half, arguments.classes):
                score = await run_case(engine, case, catalogue, arguments.guard)
                scores.append(score)
                if arguments.json:
                    facts = {"half": half, "case": case["id"], "passed": score.passed, "why": score.why}
                    print(json.dumps({**facts, "seconds": round(score.seconds, 2), "steps": score.steps}), flush=True)
                elif not score.passed:
                    print(f"{case['id']}: {case['turns'][0]['user']!r} {score.why}", file=sys.stderr, flush=True)
            if not arguments.json:
                table(scores, half)
    finally:
        await engine.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="embedded")
    parser.add_argument("--half", choices=(*HALVES, "all"), default="all")
    parser.add_argument("--class", dest="classes", action="append", choices=tuple(CLASSES), default=[])
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--json", action="store_true")
    anyio.run(main, parser.parse_args())

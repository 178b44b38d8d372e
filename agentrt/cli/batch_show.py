"""How a batch looks while it runs: a bar where a person watches, and a line at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentrt.batch.outcome import Outcome
from agentrt.batch.tasks import Job
from agentrt.cli.terminal import Terminal, bounded, clean
from agentrt.types import Usage

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SHOWN_FAILURES = 10
ERROR_CHARS = 300


class Board:
    """Counts outcomes and shows them. ``note`` writes a line above the bar."""

    def __init__(self, terminal: Terminal, total: int) -> None:
        self.terminal = terminal
        self.total = total
        self.done = self.earlier = self.ended = self.failed = 0
        self.usage = Usage()
        self._bar: Progress | None = None
        self._row: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar while the block runs, where a person watches."""
        if not self.terminal.live or self.terminal.quiet:
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
        )
        console = Console(file=self.terminal.err)
        with Progress(*columns, console=console) as bar:
            self._bar, self._row = bar, bar.add_task("", total=self.total, counts="")
            self._update()
            try:
                yield
            finally:
                self._bar = None

    def note(self, text: str) -> None:
        """Say something."""
        if self._bar is not None:
            self._bar.console.print(clean(text), markup=False, highlight=False, style="yellow")
        else:
            self.terminal.note(text)

    def seen(self, job: Job, found: Outcome, earlier: bool) -> None:
        """Count an outcome; say what failed now, the first few times."""
        if found.done:
            self.done += 1
        elif found.error or found.reason == "failed":
            self.failed += 1
            if self.failed <= SHOWN_FAILURES:
                more = "; further failures are in the results only" if self.failed == SHOWN_FAILURES else ""
                self.note(f"task {job.task.id!r} failed: {bounded(found.error, ERROR_CHARS)}{more}")
        else:
            self.ended += 1
        self.earlier += earlier
        self.usage += found.usage
        self._update()

    def _update(self) -> None:
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, completed=self.done + self.ended + self.failed, counts=self.counts())

    def counts(self) -> str:
        """``12 done · 1 ended otherwise · 2 failed · 34,567 tokens · $0.0123``; what is none is left out."""
        parts = [f"{self.done:,} done"]
        if self.ended:
            parts.append(f"{self.ended:,} ended otherwise")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.usage.tokens:
            parts.append(f"{self.usage.tokens:,} tokens")
        if self.usage.cost is not None:
            parts.append(f"${self.usage.cost:.4f}")
        return " · ".join(parts)

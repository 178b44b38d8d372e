"""``agentrt models``: list, download, choose and remove the weights of the embedded engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Argument, Typer

from agentrt.cli.guard import DONE, guarded
from agentrt.errors import ConfigError
from agentrt.models import (
    CATALOGUE,
    Weights,
    choose,
    chosen,
    find,
    gigabytes,
    is_path,
    is_whole,
    models_dir,
    path_of,
    pull,
    remove,
    resolve,
)

app = Typer(rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def models() -> None:
    """The weights of the embedded engine: what is known, what is here, which are used."""


def ensure_default_model(console: Console, ask: Callable[[str], bool] | None) -> Path:
    """The chosen weights, downloaded first if they are not here. The size is said before the download starts.

    ``ask`` puts the question to a person; ``None`` takes yes for the answer.

    :raises ConfigError: if the answer is no, or a chosen file is gone.
    :raises EngineError: if the weights can't be got.
    """
    name = chosen()
    if is_path(name) or is_whole(find(name)):
        return resolve(name)
    weights = find(name)
    needs = f"{gigabytes(weights.size_bytes)} of disk, {gigabytes(weights.memory_bytes)} of memory while it runs"
    console.print(f"The embedded model is {weights.title} ({weights.licence}): {needs}.", highlight=False)
    if ask is not None and not ask("Download it now?"):
        raise ConfigError("no model: run `agentrt models pull`, start a model server, or name an engine with --engine")
    return download(weights, console)


def download(weights: Weights, console: Console) -> Path:
    """Pull the weights behind a progress bar; what has come is kept if it is interrupted."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(weights.title, total=weights.size_bytes)

        def progress(doing: str, done: int, total: int) -> None:
            bar.update(task, description=doing, completed=done, total=total)

        try:
            path = pull(weights, progress)
        except KeyboardInterrupt:
            bar.stop()
            console.print(f"Stopped. What has come is kept: `agentrt models pull {weights.name}` goes on from there.")
            raise
    console.print(f"{weights.title} is in {path}", highlight=False, soft_wrap=True)
    return path


@app.command("list")
@guarded
def list_() -> int:
    """Show what is known, how large it is, and where it lies."""
    used = chosen()
    for weights in CATALOGUE:
        mark = "*" if weights.name == used else " "
        here = str(path_of(weights)) if path_of(weights).exists() else "not here"
        print(f"{mark} {weights.name:6} {gigabytes(weights.size_bytes):>7}  {weights.title}  {here}")
    if is_path(used):
        print(f"* {used}")
    print(f"* is used for `embedded`; the folder is {models_dir()}")
    return DONE


@app.command("pull")
@guarded
def pull_(name: Annotated[str, Argument(help="The name in the list; without one, what is used.")] = "") -> int:
    """Download weights, with a progress bar; an interrupted download goes on where it was."""
    weights = find(name or chosen())
    console = Console(stderr=True)
    if is_whole(weights):
        console.print(f"{weights.title} is here already: {path_of(weights)}", highlight=False, soft_wrap=True)
        return DONE
    needs = f"{gigabytes(weights.size_bytes)} of disk, {gigabytes(weights.memory_bytes)} of memory while it runs"
    console.print(f"{weights.title} ({weights.licence}): {needs}.", highlight=False)
    download(weights, console)
    return DONE


@app.command()
@guarded
def use(name: Annotated[str, Argument(help="A name in the list, or the path of a GGUF file.")]) -> int:
    """Choose the weights that `embedded` means."""
    print(f"`embedded` is now {choose(name)}")
    return DONE


@app.command("rm")
@guarded
def rm(name: Annotated[str, Argument(help="The name in the list.")]) -> int:
    """Delete downloaded weights and what a broken download left."""
    print(f"freed {gigabytes(remove(find(name)))}")
    return DONE

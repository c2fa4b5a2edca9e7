"""``thalweg cures``: the catalogue of cures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared
from thalweg.cli.source import find, seeded
from thalweg.cli.terminal import Terminal
from thalweg.errors import ReferenceError

if TYPE_CHECKING:
    from thalweg.diagnose.cures import Cure

__all__ = ["Options", "cures"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is told of each cure."""

    loop: Annotated[bool, FLAG] = False
    """Print a whole training loop with the cure in it, in place of the lines alone."""

    task: str | None = None
    """A TASK (file.py:callable, module:callable or case:NAME; runs its code), whose data are asked for
    evidence."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print the names only."""


DEFAULTS = Options()


def cures(
    *chosen: Annotated[str, Parameter(name="NAME")],
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """List the cures that a race can try, and the advice that only a person can follow.

    With names, each is told in full: when it helps, what it costs, the paper, and the lines to
    paste. A name may hold its number, in quotes: thalweg cures "learning_rate x0.3". So are two at
    once: thalweg cures "clip 1 + ema 0.99".

    Parameters
    ----------
    chosen
        Names of cures; a list of all of them by default.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work("loading the cures"):
        selected = _selected(chosen)
    said = _evidence(selected, options, terminal)
    if options.json:
        terminal.json({"cures": [_fields(c, said.get(c.name), options.loop) for c in selected]})
    elif options.quiet:
        for cure in selected:
            terminal.line(cure.name)
    elif chosen:
        for place, cure in enumerate(selected):
            terminal.line("\n" * (place > 0) + _told(cure, said.get(cure.name), options.loop))
    else:
        _listed(selected, said, terminal)
    return 0


def _selected(chosen: Sequence[str]) -> "list[Cure]":
    from difflib import get_close_matches

    from thalweg.diagnose.combination import named, why_not
    from thalweg.diagnose.cures import CATALOGUE, full_name

    found = []
    for name in chosen or map(full_name, CATALOGUE):
        kind = name.strip().lower()
        cure = named(name) or named(full_name(kind) if kind in CATALOGUE else "")
        if cure is None:
            near = get_close_matches(kind.partition(" ")[0], CATALOGUE, n=1)
            hint = f"did you mean {full_name(near[0])}?" if near else "thalweg cures names them"
            raise ReferenceError(f"there is no cure {name}: {why_not(name) or hint}")
        found.append(cure)
    return found


def _evidence(selected: "Sequence[Cure]", options: Options, terminal: Terminal) -> dict[str, str]:
    """What the task's data say for each cure that asks them."""
    if options.task is None:
        return {}
    with terminal.work(f"loading {options.task}"), seeded():
        from thalweg.diagnose.source import task_of

        task: Any = task_of(find(options.task, task=None, own_task=False).given)
    with terminal.work("looking at the data"), seeded():
        return {c.name: c.evidence(task) for c in selected if c.evidence is not None}


def _fields(cure: "Cure", evidence: str | None, loop: bool) -> dict[str, Any]:
    from thalweg.diagnose.cures import in_loop

    return {
        "name": cure.name,
        "family": cure.family,
        "raced": cure.change is not None,
        "summary": cure.summary,
        "costs": cure.costs,
        "source": cure.source,
        "code": in_loop(cure) if loop else cure.code,
        "evidence": evidence,
    }


def _told(cure: "Cure", evidence: str | None, loop: bool) -> str:
    from thalweg.diagnose.cures import in_loop

    kind = "" if cure.change is not None else " (advice, not raced)"
    lines = [cure.name + kind, cure.summary, f"Costs: {cure.costs}", f"Source: {cure.source}"]
    lines += [] if evidence is None else [f"Here: {evidence}"]
    code = in_loop(cure) if loop else cure.code
    return "\n".join([*lines, "", *(f"    {line}".rstrip() for line in code.splitlines())])


def _listed(selected: "Sequence[Cure]", said: dict[str, str], terminal: Terminal) -> None:
    width = max(len(cure.name) for cure in selected)
    for raced, title in ((True, "Raced:"), (False, "Advice:")):
        terminal.line(title)
        for cure in selected:
            if (cure.change is not None) is raced:
                terminal.line(f"  {cure.name:{width}}  {cure.summary}")
                if cure.name in said:
                    terminal.line(f"  {'':{width}}  {said[cure.name]}")

"""``thalweg figures``: the gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import FLAG, SHARED, Shared, whole
from thalweg.cli.terminal import NOTHING, Terminal
from thalweg.errors import FolderError

if TYPE_CHECKING:
    from thalweg.show.gallery import Drawn, Exhibit

__all__ = ["Options", "figures"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Where the figures go, and in what form."""

    folder: Path = Path("figures")
    """Where figures.html is written; it is made if it is not there."""

    png: Annotated[bool, FLAG] = False
    """Write each figure as a PNG file too; this needs the extra png (kaleido) and a Chrome."""

    list: Annotated[bool, FLAG] = False
    """Only list the exhibits, without making them."""

    seed: Annotated[int, whole("--seed", 0)] = 0
    """Of every random number in the figures."""

    json: Annotated[bool, FLAG] = False
    """Print one JSON object and nothing else."""

    quiet: Annotated[bool, FLAG] = False
    """Print only the claims that fail, without progress."""


DEFAULTS = Options()


def figures(
    *chosen: Annotated[str, Parameter(name="NAME")],
    options: Options = DEFAULTS,
    shared: Shared = SHARED,
) -> int:
    """Draw the gallery: why descent gets stuck, and what gets it out.

    Each exhibit makes claims that are checked in the data it plots. All of them are written into one
    page, figures.html, ordered as a lesson; it opens offline. Exit status 1 says that a claim failed.

    Parameters
    ----------
    chosen
        Names of exhibits; all of them by default.
    """
    terminal = Terminal(json=options.json, quiet=options.quiet)
    with terminal.work("loading the gallery"):
        from thalweg.show.gallery import LESSON, exhibit

        named = {exhibit(name).name for name in chosen}
    selected = [each for each in LESSON if not named or each.name in named]
    if options.list:
        return _listed(selected, options, terminal)
    _make(options.folder)
    made: list[tuple[Exhibit, Drawn]] = []
    for place, each in enumerate(selected):
        with terminal.work(each.title, kept=lambda: NOTHING) as tell:
            tell(each.title, place, len(selected))
            drawn = each.build(options.seed)
            made.append((each, drawn))
        if not options.json:
            _say(each, drawn, options, terminal)
    files = _written(made, options, terminal)
    holds = all(drawn.holds for _, drawn in made)
    if options.json:
        fields = [_plain(each, drawn) for each, drawn in made]
        written = [str(path) for path in files]
        terminal.json({"exhibits": fields, "holds": holds, "seed": options.seed, "files": written})
    elif not options.quiet:
        terminal.line(f"Written: {', '.join(map(str, files))}")
    return 0 if holds else 1


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"--folder {folder} cannot be made: {error.strerror}") from error


def _listed(selected: "Sequence[Exhibit]", options: Options, terminal: Terminal) -> int:
    if options.json:
        fields = [{"name": each.name, "title": each.title} for each in selected]
        terminal.json({"exhibits": fields})
        return 0
    width = max(len(each.name) for each in selected)
    for each in selected:
        terminal.line(f"{each.name:{width}}  {each.title}")
    return 0


def _say(each: "Exhibit", drawn: "Drawn", options: Options, terminal: Terminal) -> None:
    shown = [claim for claim in drawn.claims if not claim.holds or not options.quiet]
    if shown:
        terminal.line(f"{each.name}: {each.title}")
    for claim in shown:
        terminal.line(f"  {'holds' if claim.holds else 'FAILS'}  {claim.sentence}")


def _written(
    made: "Sequence[tuple[Exhibit, Drawn]]", options: Options, terminal: Terminal
) -> list[Path]:
    with terminal.work("writing the page") as tell:
        from thalweg.show.lesson import lesson

        files = [lesson(made, options.folder / "figures.html", seed=options.seed)]
        if options.png:
            from thalweg.show.picture import pictures

            panels = [panel for _, drawn in made for panel in drawn.panels]
            wanted = [(panel.figure, options.folder / f"{panel.key}.png") for panel in panels]
            for path in pictures(wanted):
                files.append(path)
                tell(path.name, len(files) - 1, len(wanted))
    return files


def _plain(each: "Exhibit", drawn: "Drawn") -> dict[str, Any]:
    return {
        "name": each.name,
        "title": each.title,
        "claims": [{"sentence": claim.sentence, "holds": claim.holds} for claim in drawn.claims],
        "panels": [panel.key for panel in drawn.panels],
    }

"""Writes docs/cures.md, the catalogue of cures: .venv/bin/python docs/make_cures.py."""

import inspect
from collections.abc import Sequence
from pathlib import Path

from thalweg.diagnose.cures import CATALOGUE, Cure, cure_named, full_name, in_loop

PAGE = Path(__file__).parent / "cures.md"

GROUPS = {
    "The learning rate": {"rate"},
    "The optimizer": {"optimizer"},
    "Batches and examples": {"batch", "examples"},
    "The weights, moved": {"move", "noise"},
    "The gradient": {"clip", "weight_decay", "sharpness_aware"},
    "What answers": {"average", "stopping"},
    "Advice, which a race leaves out": {"advice"},
}
"""Heading -> families of cures."""

HEAD = """# The cures

Written by `docs/make_cures.py` from the catalogue; the same is told by

```console
$ thalweg cures
$ thalweg cures "learning_rate x0.3" staged --loop
$ thalweg cures "cosine over 500 + clip 1" --loop
$ thalweg cures scale_inputs batch_by_noise --task training.py:task
```

A name holds its number: `learning_rate x0.3`, `cosine over 500`, `adam 0.001`; without one it has
that of the table. Two at once have ` + ` between them. Each can be raced
(`tw.race(task, ["ema", "staged over 50"])`), and pasted: `thalweg cures NAME` prints its lines and the
places of a loop where they go, `--loop` the whole loop. The lines use `model`, `loss`, `optimizer`,
`loader`, and where they must the data `x, y` as `dataset` in batches of `batch_size`, or `held_out`
data. A ✓ says that the cure applies to a `tw.Plan` too:

```python
import thalweg as tw
from thalweg.diagnose.cures import cosine

plan = cosine().plan(tw.Plan(learning_rate=0.1, steps=200, trials=1000))
tw.run(tw.landscapes.spiky(), plan)
```

In a race every cure pays for what it takes: `sharpness_aware` gets half as many steps, a Newton step
counts its Hessian-vector products, a range test the steps on its copy, early stopping its looks.
"""

TAIL = """
## One in its loop

`thalweg cures {name} --loop`:

<!-- no test: it wants a training of yours -->
```python
{loop}```

<!-- test setup:
import inspect
import runpy
from pathlib import Path

here = Path(inspect.currentframe().f_code.co_filename)
fresh = runpy.run_path(str(here.parent / "make_cures.py"))["page"]()
assert fresh == here.read_text(encoding="utf-8"), "run docs/make_cures.py: the catalogue has changed"
-->
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    made = {kind: cure_named(full_name(kind)) for kind in CATALOGUE}
    cures = {kind: cure for kind, cure in made.items() if cure is not None}
    families = set().union(*GROUPS.values())
    strange = [kind for kind, cure in cures.items() if cure.family not in families]
    assert not strange and len(cures) == len(CATALOGUE), f"no heading for {strange}"
    tables = [
        f"## {heading}\n\n" + table([cure for cure in cures.values() if cure.family in among])
        for heading, among in GROUPS.items()
    ]
    loop = in_loop(cures["ema"])
    return "\n".join([HEAD, *tables]) + TAIL.format(name="ema", loop=loop)


def table(cures: Sequence[Cure]) -> str:
    """One line for each cure."""
    lines = ["| name | what it does, and when it helps | costs | source | plan |", "|---" * 5 + "|"]
    for cure in cures:
        make = CATALOGUE[cure.name.split(" ")[0]]
        does = " ".join((inspect.getdoc(make) or "").split("\n\n")[0].split())
        plan = "✓" if cure.plan else ""
        cells = (f"`{cure.name}`", f"{does} {cure.summary}", cure.costs, cure.source, plan)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines).replace("``", "`").replace("\\\\|", "\\|") + "\n"


if __name__ == "__main__":
    main()

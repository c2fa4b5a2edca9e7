"""Writes docs/landscapes.md: the catalogue of landscapes as a table. Run: python docs/make_landscapes.py"""

import inspect
import re
from collections import Counter
from pathlib import Path

import torch

from thalweg.objective import landscapes

PAGE = Path(__file__).with_name("landscapes.md")

HEAD = """# Landscapes

A landscape is a function of a few variables with what is known about it: where its minima, saddles
and maxima are, how curved it is there, and how fast its gradient can change. Every entry of this
table is checked in the tests against derivatives.

```python
import torch
import thalweg as tw

bowl = tw.landscapes.spiky(amplitude=0.3, frequency=20)
print(len(bowl.minima), bowl.smoothness, bowl.critical[0])
print(bowl.loss(torch.zeros(5, 1)))  # any leading dimensions: five trials

own = tw.landscapes.from_formula("x**2 - y**2 + 0.1*sin(5*x*y)")
same = tw.landscapes.from_reference("spiky(amplitude=0.3, frequency=20)")  # text, as in a shell
```

`L` is the smallest constant with ‖∇f(x) − ∇f(y)‖ ≤ L‖x − y‖ on the whole space
(`landscape.smoothness`). Where there is none, `L on the domain` is that of the box in which starting
points lie (`landscape.domain_smoothness`). `Curvature` is the range of the Hessian's eigenvalues at the
best minimum (`CriticalPoint.curvatures`); its lower end is the strong convexity there. `Lowest` is the
infimum of the loss. The figures are those of the arguments shown.

"""

TAIL = """
## Formulas

A formula may hold numbers, the variables `x`, `y`, `z`, `w` or `x0`, `x1`, `x2`, …, the operators
`+ - * / **`, brackets, `pi`, `e`, and the functions sin, cos, tan, exp, log, sqrt, abs, sign, tanh,
sinh, cosh, atan, min and max. It is read by a whitelist and never executed; whatever else is refused
with the place marked:

```python
try:
    tw.landscapes.from_formula("x**2 + sinn(3*x)")
except tw.ThalwegError as error:
    print(error)
```

## Curves of your own

`spline(knots, values)` draws the cubic spline through given points, and finds all its critical points
and its `L` exactly; `spline_from_file(path)` reads two columns, or JSON with `knots` and `values`. In
text it is `spline:PATH`.

## Sums over examples

`finite_sum` and `least_squares` are means over examples, so that mini-batches exist: `losses(points)` has
one column for each example, `on(indices)` is the loss of a mini-batch, with indices `(batch,)` for all
trials or `(trials, batch)` for each its own, and `example(i)` is the landscape of one example.
"""


def number(value: float | None) -> str:
    """A value as the table shows it."""
    return "–" if value is None else f"{value:.4g}".replace("-inf", "−∞").replace("-", "−")


def row(name: str) -> str:
    """The line of one landscape."""
    factory = landscapes.CATALOGUE[name]
    landscape = factory()
    first = (inspect.getdoc(factory) or "").partition("\n\n")[0].replace("\n", " ")
    described = re.sub(r"``", "`", first.replace("\\|", "|")).replace("|", "\\|")
    takes = [
        f"{p.name}={p.default:g}" if isinstance(p.default, int | float) else p.name
        for p in inspect.signature(factory).parameters.values()
        if p.kind is not p.KEYWORD_ONLY
    ]
    kinds = Counter(known.kind for known in landscape.critical)
    plural = {"minimum": "minima", "maximum": "maxima", "saddle": "saddles"}
    known = ", ".join(
        f"{count} {kind if count == 1 else plural.get(kind, kind)}" for kind, count in kinds.items()
    )
    lowest = [k for k in landscape.critical if k.kind == "minimum" and k.smooth]
    curvature = "–"
    if lowest:
        best = min(lowest, key=lambda k: float(landscape.loss(torch.tensor(k.point))))
        low, high = best.curvatures[0], best.curvatures[-1]
        curvature = number(low) if low == high else f"{number(low)} … {number(high)}"
    cells = [
        f"`{name}({', '.join(takes)})`",
        described,
        str(landscape.dim),
        known,
        curvature,
        number(landscape.smoothness),
        number(landscape.domain_smoothness),
        number(landscape.infimum),
    ]
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The page as it should be."""
    head = [
        "| landscape | function | dim | known | curvature | L | L on the domain | lowest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return HEAD + "\n".join([*head, *map(row, landscapes.CATALOGUE)]) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Two points of a network connected in every way: straight, with units aligned, along a curve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from thalweg.errors import UsageError
from thalweg.measure.alignment import align
from thalweg.measure.comparison import Comparison, compare
from thalweg.measure.connectivity import Between, bezier_path, interpolation
from thalweg.measure.plain import plain
from thalweg.measure.rises import without_decay
from thalweg.measure.standing import loss_of_task
from thalweg.objective.supervised import Supervised
from thalweg.task import Task

__all__ = ["Connection", "connect", "connect_points"]


@dataclass(frozen=True, eq=False)
class Connection:
    """Two points and the ways between them.

    Attributes:
        ends: what they are called.
        comparison: losses, predictions, margins and distance.
        ways: ``line``; ``aligned``, the line to the second point with its units in the order of the
            first's, for plain networks; ``curve``, of low loss.
        moved: share of hidden units whose place the alignment changed; NaN without.
        cost: gradient evaluations over the training data, without that of finding the points.
        name: of the task.
        notes: what a reader must know.
    """

    ends: tuple[str, str]
    comparison: Comparison
    ways: Mapping[str, Between]
    moved: float
    cost: float
    name: str = ""
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        return plain(
            {
                "name": self.name,
                "between": list(self.ends),
                "comparison": self.comparison.to_dict(),
                "ways": {name: way.to_dict() for name, way in self.ways.items()},
                "moved": self.moved,
                "cost": self.cost,
                "notes": list(self.notes),
            }
        )


def connect_points(
    objective: Supervised,
    first: Tensor,
    second: Tensor,
    *,
    test: Any = None,
    aligned: bool = True,
    steps: int = 300,
    batch_size: int | None = 128,
    count: int = 25,
    ends: tuple[str, str] = ("A", "B"),
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Connection:
    """The ways between two points of a network, and the two compared; without weight decay.

    Args:
        test: held-out examples in any form.
        aligned: whether to align the units of a plain network (:func:`thalweg.measure.align`); of
            another a note says what stands in the way.
        steps: of training the curve (:func:`thalweg.measure.bezier_path`); 0 for none.
        batch_size: examples a step of it.
        count: places on each way.
        ends: what the points are called.
        seed: of the draws.
        progress: called with what is measured next.

    Raises:
        UsageError: a point that is not finite or of another shape.
    """
    tell = progress or (lambda _: None)
    plain_loss = without_decay(objective)
    assert isinstance(plain_loss, Supervised)
    for name, point in zip(ends, (first, second), strict=True):
        objective.check_finite(point, name)
    like = objective.point()
    first, second = first.to(like), second.to(like)
    tell("the two points")
    comparison = compare(plain_loss, first, second, test=test)
    tell("the straight line")
    ways = {"line": interpolation(plain_loss, first, second, test=test, count=count)}
    notes: list[str] = []
    moved, cost = float("nan"), 0.0
    if aligned:
        tell("alignment of the units")
        try:
            found = align(plain_loss, first, second)
        except UsageError as error:
            notes.append(f"not aligned: {error}")
        else:
            moved, cost = found.moved, found.cost
            ways["aligned"] = interpolation(
                plain_loss, first, found.point, test=test, count=count, name="units aligned"
            )
    if steps:
        bend = bezier_path(
            plain_loss,
            first,
            second,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            progress=lambda done, most: tell(f"a curve of low loss, step {done} of {most}"),
        )
        cost += bend.cost
        ways["curve"] = interpolation(
            plain_loss, first, second, control=bend.control, test=test, count=count
        )
    cost += sum(way.barrier.cost for way in ways.values()) + 4 / 3
    return Connection(ends, comparison, ways, moved, cost, notes=notes)


def connect(
    task: Task,
    first: Tensor,
    second: Tensor,
    *,
    examples: int = 2048,
    seed: int = 0,
    **how: Any,
) -> Connection:
    """:func:`connect_points` of a task's model, on its data.

    A model that normalises by batches does so by those of the data here: running statistics belong to
    one point, not to what lies between two.

    Args:
        first, second: its trainable parameters, flat.
        examples: measured on at most; of more a sample is drawn, and errors say what it leaves open.
        how: the other arguments of that function.
    """
    objective, held_out, notes = loss_of_task(
        task, examples=examples, seed=seed, batch_statistics=True
    )
    if objective.mode == "batch":
        notes.append("normalised by the statistics of batches, at the two points too")
    found = connect_points(objective, first, second, test=held_out, seed=seed, **how)
    return replace(found, name=task.name, notes=(*found.notes, *notes))

"""All checks that need no measurement, in the order in which their findings are said."""

import warnings
from collections.abc import Callable, Iterator

from thalweg.diagnose.checks import data, finite, frozen, held, modes, outputs, reach, steps
from thalweg.diagnose.checks.look import Look
from thalweg.diagnose.finding import Mechanism
from thalweg.run.random_state import RandomState
from thalweg.task import Task

__all__ = ["check_wiring"]

CHECKS: tuple[Callable[[Look], Iterator[Mechanism]], ...] = (
    finite.data_not_finite,
    finite.state_not_finite,
    finite.loss_not_finite,
    held.not_held,
    held.not_registered,
    reach.without_gradient,
    reach.not_reached,
    reach.input_unused,
    reach.accumulated,
    steps.rate,
    steps.momentum,
    steps.weight_decay,
    outputs.outside_classes,
    outputs.link,
    outputs.broadcast,
    data.constant_data,
    modes.evaluation_mode,
    frozen.frozen,
    held.held_twice,
    steps.schedule,
    reach.zero_gradient,
    data.input_scale,
    data.target_scale,
    modes.disagreement,
)


def check_wiring(task: Task) -> tuple[Mechanism, ...]:
    """Faults of the wiring and the data; those that explain being stuck come first.

    Looks at no more than :data:`~thalweg.diagnose.checks.look.MOST` examples, and, where the data
    are tensors in memory, once over all of them for numbers that are not finite and labels outside
    the classes. A model, loss or data that cannot be evaluated at all leaves out the checks that
    need it: nothing is raised.

    Cost: about :data:`~thalweg.diagnose.checks.look.PASSES` gradient evaluations over those
    examples. The task's model, optimizer, schedule and data and the global random state are the
    same bits afterwards.
    """
    before = RandomState.now()
    RandomState.of_seed(0).restore()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            look = Look.at(task)
            found = [mechanism for check in CHECKS for mechanism in check(look)]
    finally:
        before.restore()
    return tuple(sorted(found, key=lambda mechanism: mechanism.explains is None))

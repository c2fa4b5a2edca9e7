"""Faults of wiring, data and layers, looked for before anything is measured.

Each file holds checks of one kind: functions of one :class:`~thalweg.diagnose.checks.look.Look`
that yield :class:`~thalweg.diagnose.finding.Mechanism`. A mechanism has ``explains`` only where it
is by itself enough for a training to be stuck.
"""

from thalweg.diagnose.checks.look import MOST, PASSES
from thalweg.diagnose.checks.state import check_state
from thalweg.diagnose.checks.wiring import check_wiring

__all__ = ["MOST", "PASSES", "check_state", "check_wiring"]

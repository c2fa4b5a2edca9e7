"""How a case's cause is established: by what changes to the training do, not by any rule.

Nothing here looks at how the library diagnoses; the checks train on from the case's state, with and
without interventions, and take the dense Hessian in float64 where the ground itself is in question.
"""

from thalweg.clinic.truth.battery import Battery
from thalweg.clinic.truth.check import Check
from thalweg.clinic.truth.established import established
from thalweg.clinic.truth.trial import Truth, tried

__all__ = ["Battery", "Check", "Truth", "established", "tried"]

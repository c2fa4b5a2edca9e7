"""The global random states that a training draws from, to be kept and put back."""

from thalweg.objective.random_state import RandomState

__all__ = ["RandomState"]

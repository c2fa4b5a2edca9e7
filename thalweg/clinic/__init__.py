"""The clinic: trainings that are stuck in a known way, to judge a diagnosis by."""

from thalweg.clinic.catalogue import CASES, case
from thalweg.clinic.entry import Case

__all__ = ["CASES", "Case", "case"]

"""The clinic: trainings that are stuck in a known way, to judge a diagnosis by."""

from thalweg.clinic.case import Case
from thalweg.clinic.catalogue import CASES, case

__all__ = ["CASES", "Case", "case"]

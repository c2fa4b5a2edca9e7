"""Runs drawn by a seed, over data, architecture, width, start, optimizer, rate, batch and fault.

Their causes are not known when they are drawn: :mod:`thalweg.clinic.truth.trial` establishes each
by experiments.
"""

from thalweg.clinic.generator.draw import FAMILIES, drawn_run
from thalweg.clinic.generator.drawn import Drawn

__all__ = ["FAMILIES", "Drawn", "drawn_run"]

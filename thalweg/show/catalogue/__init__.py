"""The catalogue of vital signs: label, formula, meaning, zones and scale of each."""

from collections.abc import Mapping

from thalweg.show.catalogue import ahead, loss, parts, steps, ways
from thalweg.show.catalogue.vital import GROUPS, Scale, Tone, Vital

__all__ = ["GROUPS", "VITALS", "Scale", "Tone", "Vital"]

VITALS: Mapping[str, Vital] = {
    sign.name: sign for part in (loss, steps, ahead, ways, parts) for sign in part.SIGNS
}
"""Every sign that a diagnosis may produce, in the order a reader meets them."""

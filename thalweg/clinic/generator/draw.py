"""seed -> Drawn: the family by its weight, the rest by the family."""

import zlib
from dataclasses import replace

import torch

from thalweg.clinic.entry import Draw
from thalweg.clinic.generator import faulty, moving, sound, standing
from thalweg.clinic.generator.drawn import Drawn, Family

__all__ = ["FAMILIES", "drawn_run"]

FAMILIES: dict[str, tuple[Family, int]] = {
    "any": (sound.any_run, 5),
    "good": (sound.good_run, 2),
    "warmup": (sound.warmup, 1),
    "low phase": (sound.low_phase, 1),
    "slow start": (sound.slow_start, 1),
    "noisy": (sound.noisy_run, 1),
    "too small": (moving.too_small, 2),
    "decayed early": (moving.decayed_early, 1),
    "overshooting": (moving.overshooting, 2),
    "edge": (moving.edge, 3),
    "noise floor": (moving.noise_floor, 2),
    "wild": (moving.wild, 2),
    "ravine": (moving.ravine, 2),
    "tiny start": (standing.tiny_start, 2),
    "twins": (standing.twins, 1),
    "saturated": (standing.saturated, 2),
    "poor minimum": (standing.poor_minimum, 3),
    "converged": (standing.converged, 2),
    "no relation": (standing.no_relation, 2),
    "memorising": (standing.memorising, 2),
    "miswired": (faulty.miswired, 2),
    "missing values": (faulty.missing_values, 1),
    "blown up": (faulty.blown_up, 1),
}
"""What may be done to a run, and how often it is, in relation to the others."""


def drawn_run(seed: int, family: str | None = None) -> Drawn:
    """The run that ``seed`` draws; it depends on nothing else, unless the family is told.

    torch's own initialisers draw from the global generator, so it is seeded meanwhile and put back.
    """
    number = zlib.crc32(f"drawn:{seed}".encode())
    draw = Draw(number)
    names = [name for name, (_, weight) in FAMILIES.items() for _ in range(weight)]
    chosen = draw.one_of(*names) if family is None else family
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(number)
        torch.set_default_dtype(torch.float32)
        try:
            found = FAMILIES[chosen][0](draw)
        finally:
            torch.set_default_dtype(before)
    return replace(found, family=chosen, task=replace(found.task, name=f"drawn:{seed}"))

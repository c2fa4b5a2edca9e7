"""Check: one thing that must be so where a cause is the true one."""

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """What must hold, whether it does, and the numbers that say so."""

    name: str
    holds: bool
    said: str

    def __str__(self) -> str:
        return f"{'holds' if self.holds else 'FAILS'}: {self.name} ({self.said})"

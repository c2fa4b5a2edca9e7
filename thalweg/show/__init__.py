"""What a result looks like: as text, as plotly figures, as one HTML file, in a notebook.

Every figure function takes the result alone and returns a figure; plotly is loaded when the first
of them is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.show.connectivity_figure import connection_ways
    from thalweg.show.density_figure import spectral_density
    from thalweg.show.drops_figure import drops
    from thalweg.show.figure import continuations, loss_history
    from thalweg.show.flatness_figure import flatness_profile, shift_lines
    from thalweg.show.race_figure import gains, race_losses
    from thalweg.show.spectrum import eigenvalues
    from thalweg.show.surface_figure import surface_line, surface_map, surface_view
    from thalweg.show.text import (
        plain_finding,
        plain_race,
        rich_cases,
        rich_finding,
        rich_race,
    )

__all__ = [
    "connection_ways",
    "continuations",
    "drops",
    "eigenvalues",
    "flatness_profile",
    "gains",
    "loss_history",
    "plain_finding",
    "plain_race",
    "race_losses",
    "rich_cases",
    "rich_finding",
    "rich_race",
    "shift_lines",
    "spectral_density",
    "surface_line",
    "surface_map",
    "surface_view",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from thalweg.show import text

    if hasattr(text, name):
        return getattr(text, name)
    from thalweg.show import (
        connectivity_figure,
        density_figure,
        drops_figure,
        figure,
        flatness_figure,
        race_figure,
        spectrum,
        surface_figure,
    )

    parts = (
        connectivity_figure,
        density_figure,
        drops_figure,
        figure,
        flatness_figure,
        race_figure,
        spectrum,
        surface_figure,
    )
    return next(getattr(part, name) for part in parts if hasattr(part, name))

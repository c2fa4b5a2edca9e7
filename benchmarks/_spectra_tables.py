"""The tables of spectra, in Markdown."""

from collections.abc import Callable
from typing import Any

from benchmarks._results import caption
from benchmarks._spectra import Row

__all__ = ["tables"]


def tables(result: dict[str, Any]) -> str:
    """One for each part that was run."""
    made = [table(result[name]) for name, table in _TABLES.items() if result.get(name)]
    return "\n\n".join([*made, caption(result)])


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ratio(row: Row) -> str:
    return ("" if row["accurate"] else "> ") + f"**{row['ratio']:.2g}**"


def _trace_table(rows: list[Row]) -> str:
    head = ("trace", "thalweg", "rms error", "XTrace", "rms error", "products", "ratio")
    cells = [
        [
            r["case"],
            f"{1e3 * r['seconds']['median']:.0f} ms",
            f"{r['rms']:.1e}",
            f"{1e3 * r['peer_seconds']['median']:.0f} ms",
            f"{r['peer_rms']:.1e}" + ("" if r["accurate"] else " (its best)"),
            str(r["peer_products"]),
            _ratio(r),
        ]
        for r in rows
    ]
    return _table(head, cells)


def _density_table(rows: list[Row]) -> str:
    head = (
        "density", "thalweg", "distance", "claimed", "hessian-eigenthings", "distance", "runs × steps",
        "ratio",
    )  # fmt: skip
    cells = [
        [
            r["case"],
            f"{1e3 * r['seconds']['median']:.0f} ms",
            f"{r['distance']:.2f}",
            f"{r['claimed']:.2f}",
            f"{1e3 * r['peer_seconds']['median']:.0f} ms",
            f"{r['peer_distance']:.2f}" + ("" if r["accurate"] else " (its best)"),
            " × ".join(map(str, r["peer_runs"])),
            _ratio(r),
        ]
        for r in rows
    ]
    return _table(head, cells)


def _resnet_table(rows: list[Row]) -> str:
    head = ("top five", "seconds", "error", "products", "times ours", "times ours by residual²/gap")
    (row,) = rows
    bound = row | {"seconds": row["seconds"]["median"]}
    sides = {"thalweg": bound, "thalweg, by residual²/gap": row["estimate"]}
    sides |= {name: row[name] for name in ("curvlinops", "pyhessian")}
    cells = []
    for name, side in sides.items():
        least = "" if side.get("accurate", True) else "> "
        cells.append(
            [
                name,
                f"{side['seconds']:.1f}",
                f"{side['error']:.0e}" + (" (its best)" if least else ""),
                str(side.get("products", "")),
                *(
                    f"{least}**{side[key]:.2g}**" if name in ("curvlinops", "pyhessian") else ""
                    for key in ("ratio", "ratio_estimate")
                ),
            ]
        )
    return _table(head, cells)


def _saddle_table(rows: list[Row]) -> str:
    head = (
        "network near its start",
        "λ min",
        "thalweg",
        "off by",
        "λ max",
        "PyHessian, first five",
    )
    cells = [
        [
            r["case"],
            f"{r['true']:.5g}",
            f"{r['bottom']:.5g}",
            f"{r['off']:.0e}",
            f"{r['top']:.5g}",
            ", ".join(f"{v:.3g}" for v in r["pyhessian"]),
        ]
        for r in rows
    ]
    return _table(head, cells)


def _linear_table(rows: list[Row]) -> str:
    head = ("varied", "examples", "parameters", "seconds", "ns for each example and parameter")
    cells = [
        [
            r["varied"],
            str(r["examples"]),
            str(r["parameters"]),
            f"{r['seconds']:.3g}",
            f"{r['nanoseconds']:.3g}",
        ]
        for r in rows
    ]
    return _table(head, cells)


def _memory_table(rows: list[Row]) -> str:
    head = ("budget", "graph needs", "peak of the products", "graph kept", "off by")
    cells = [
        [
            f"{r['budget']} MiB",
            f"{r['needed']:.0f} MiB",
            f"{r['peak']:.0f} MiB",
            "yes" if r["kept"] else "no",
            f"{r['off']:.0e}",
        ]
        for r in rows
    ]
    return _table(head, cells)


def _coverage_table(rows: list[Row]) -> str:
    names = [name for name in rows[0] if name != "case"]
    head = ("intervals that hold", *(name.replace("_", " ") for name in names))
    return _table(head, [[r["case"], *(f"{r[n]:.1%}" for n in names)] for r in rows])


_TABLES: dict[str, Callable[[list[Row]], str]] = {
    "trace": _trace_table,
    "density": _density_table,
    "resnet": _resnet_table,
    "saddle": _saddle_table,
    "linear": _linear_table,
    "memory": _memory_table,
    "coverage": _coverage_table,
}

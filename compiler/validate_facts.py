"""How far simulated times are from measured ones: means, ranks, classes, and the targets.

In: rows with `measured_us` and `simulated_us`. Out: a summary for table and JSON, and what misses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Facts = Mapping[str, Any]
Classes = tuple[tuple[str, Callable[[Facts], bool]], ...]
Targets = tuple[tuple[str, str, float, float], ...]

LONG_US = 50.0
"""Rows measured at more than this many microseconds are judged by themselves as well."""
WORST = 5

TARGETS: Targets = (
    ("geomean", "geometric mean of simulated / measured", 0.9, 1.1),
    ("mape", "mean absolute error, percent", 0.0, 20.0),
    ("mape_long", f"the same over rows longer than {LONG_US:g} us, percent", 0.0, 15.0),
    ("rank", "rank correlation", 0.97, 1.0),
)
"""Key in the summary, what it is, least and greatest value that hits the target."""

CONV_TARGETS: Targets = (
    ("geomean", "convolutions: geometric mean of simulated / measured", 0.85, 1.15),
    ("mape", "convolutions: mean absolute error, percent", 0.0, 25.0),
)
"""The same for convolutions, over the rows that were measured as they are listed (`listed`)."""

CLASSES: Classes = (
    ("NN", lambda r: r["layout"] == "NN"),
    ("TN", lambda r: r["layout"] == "TN"),
    ("NT", lambda r: r["layout"] == "NT"),
    ("skinny: m or n up to 128", lambda r: min(r["m"], r["n"]) <= 128 and r["k"] < 100_000),
    ("deep: k of 100,000 or more", lambda r: r["k"] >= 100_000),
    ("large: m and n above 128", lambda r: min(r["m"], r["n"]) > 128),
    (f"up to {LONG_US:g} us", lambda r: r["measured_us"] <= LONG_US),
    (f"longer than {LONG_US:g} us", lambda r: r["measured_us"] > LONG_US),
    ("sampled", lambda r: r["sampled"] is not None),
)
"""Groups of rows that get a line of their own; they overlap."""


CONV_CLASSES: Classes = (
    ("1x1", lambda r: r["kernel"] == [1, 1]),
    ("3x3", lambda r: r["kernel"] == [3, 3]),
    ("larger kernels", lambda r: min(r["kernel"]) > 3),
    ("strided", lambda r: max(r["stride"]) > 1),
    ("fewer than 64 filters", lambda r: r["filters"] < 64),
    ("channels that the benchmark padded", lambda r: r["channels"] != r["channels_padded"]),
    ("measured as listed", lambda r: r["channels"] == r["channels_padded"]),
    (f"up to {LONG_US:g} us", lambda r: r["measured_us"] <= LONG_US),
    (f"longer than {LONG_US:g} us", lambda r: r["measured_us"] > LONG_US),
)
"""The same for convolutions."""


def geomean(ratios: F64) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(ratios).mean()))


def mape(ratios: F64) -> float:
    """Mean of |simulated / measured - 1|, in percent."""
    return float(100 * np.abs(ratios - 1).mean())


def ranks(values: F64) -> F64:
    """Ranks from 1 in ascending order; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_correlation(a: F64, b: F64) -> float | None:
    """Spearman's: the correlation of the ranks. None where all values of one side are equal."""
    x, y = (r - r.mean() for r in (ranks(a), ranks(b)))
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else None


def summary(rows: Sequence[Facts], classes: Classes = CLASSES) -> dict[str, Any]:
    """Means over `rows`, the worst of them, and each class that has any."""
    times = np.array([(r["measured_us"], r["simulated_us"]) for r in rows], np.float64)
    ratios = times[:, 1] / times[:, 0]
    long = ratios[times[:, 0] > LONG_US]
    worst = sorted(rows, key=lambda r: -abs(r["ratio"] - 1))[:WORST]
    return {
        "rows": len(rows),
        "geomean": geomean(ratios),
        "mape": mape(ratios),
        "mape_long": mape(long) if len(long) else None,
        "rank": rank_correlation(times[:, 0], times[:, 1]),
        "worst": [r["index"] for r in worst],
        "classes": [_class(name, [r for r in rows if test(r)]) for name, test in classes],
    }


def _class(name: str, rows: Sequence[Facts]) -> dict[str, Any]:
    ratios = np.array([r["ratio"] for r in rows], np.float64)
    return {
        "name": name,
        "rows": len(rows),
        "geomean": geomean(ratios) if len(rows) else None,
        "mape": mape(ratios) if len(rows) else None,
    }


def missed(facts: Facts, targets: Targets | None = None) -> list[str]:
    """The targets (default: `TARGETS`) that a summary misses, one line each."""
    lines: list[str] = []
    for key, what, low, high in TARGETS if targets is None else targets:
        value = facts[key]
        if value is None or not low <= value <= high:
            found = "none" if value is None else f"{value:.3g}"
            lines.append(f"{what}: {found}, wanted {low:g} to {high:g}")
    return lines

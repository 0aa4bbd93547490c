"""Simulated against measured times, and the curve of the dual-side core by densities.

In: the facts of `dstc validate --json`. Out: a PNG, SVG or PDF file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..backend.isa.errors import DstcError
from ..backend.isa.files import atomic_path

_MARKERS = {"NN": "o", "TN": "^", "NT": "s", "conv": "D"}
FORMATS = ("png", "svg", "pdf")


def plotting() -> Any:
    """matplotlib's figure class; `DstcError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # pyright: ignore
    except ImportError:
        raise DstcError(
            "--plot needs matplotlib, which is not installed; pip install 'dstc[plot]'"
        ) from None
    return Figure  # pyright: ignore


def check_format(path: str) -> str:
    """The format that the name ends with; `DstcError` for any but png, svg, pdf."""
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise DstcError(f"--plot {path}: the name must end in .{', .'.join(FORMATS)}")
    return suffix


def plot(path: str, facts: Mapping[str, Any]) -> None:
    """Write the plot: a marker by layout, filled where sampled, and lines at 1, 0.8 and 1.2."""
    suffix = check_format(path)
    figure = plotting()(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.add_subplot()
    rows = [*facts["rows"], *facts["conv"]["rows"]]
    times = [r[key] for r in rows for key in ("measured_us", "simulated_us")]
    ends = min(times) / 1.5, max(times) * 1.5
    axes.plot(ends, ends, color="black", linewidth=0.8)
    for factor in (0.8, 1.2):
        axes.plot(ends, [factor * e for e in ends], color="gray", linewidth=0.6, linestyle="--")
    for layout, marker in _MARKERS.items():
        for sampled in (False, True):
            some = [
                r for r in rows if r["layout"] == layout and (r["sampled"] is not None) == sampled
            ]
            if some:
                axes.scatter(
                    [r["measured_us"] for r in some],
                    [r["simulated_us"] for r in some],
                    marker=marker,
                    s=22,
                    facecolors="tab:blue" if sampled else "none",
                    edgecolors="tab:blue",
                    label=layout + (", sampled" if sampled else ""),
                )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(xlabel="measured, us", ylabel=f"simulated on {facts['machine']}, us")
    kinds = (("products", facts["summary"]), ("convolutions", facts["conv"]["summary"]))
    title = [
        f"{s['rows']} {what}: geometric mean {s['geomean']:.3f}, "
        f"mean absolute error {s['mape']:.1f} %"
        for what, s in kinds
        if s is not None
    ]
    axes.set_title("\n".join(title), fontsize="medium")
    axes.legend()
    _save(figure, path, suffix)


def plot_curve(path: str, facts: Mapping[str, Any]) -> None:
    """Write the plot: normalised time by A's density, a colour by B's.

    Circles: simulated, dashes: quantisation alone, stars: published.
    """
    suffix = check_format(path)
    figure = plotting()(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.add_subplot()
    rows = sorted(facts["rows"], key=lambda r: r["a_density"])
    for i, density in enumerate(sorted({r["b_density"] for r in rows}, reverse=True)):
        some = [r for r in rows if r["b_density"] == density]
        known = [r for r in some if r["published"] is not None]
        colour, label = f"C{i}", f"B {density:g}"
        for key, style, points in (
            ("normalised", {"marker": "o", "label": f"{label}, simulated"}, some),
            ("quantisation", {"linestyle": "--", "label": f"{label}, quantisation"}, some),
            ("published", {"marker": "*", "markersize": 12, "linestyle": "none",
                           "label": f"{label}, published"}, known),
        ):  # fmt: skip
            if points:
                x, y = ([r[name] for r in points] for name in ("a_density", key))
                axes.plot(x, y, color=colour, linewidth=1, **style)
    axes.set(xlabel="density of A", ylabel="cycles over those of dense operands")
    axes.set(xlim=(0, 1.03), ylim=(0, None))
    title = f"{facts['size']}^3 on {facts['machine']}; published: {facts['published_size']}^3"
    axes.set_title(title, fontsize="medium")
    axes.legend(fontsize="small")
    _save(figure, path, suffix)


def _save(figure: Any, path: str, suffix: str) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        # without a date, the same facts give the same file
        metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
        figure.savefig(stream, format=suffix, dpi=150, metadata=metadata)

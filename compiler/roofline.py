"""Roofline charts: what products reach, under what tensor cores and memory allow.

In: a profile. Out: `Roofline`s in the coordinates of a drawing, which the page's template draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, log10

from .profile import KernelProfile, Profile
from .run_facts import number
from .units import SECTOR_BYTES

WIDTH, HEIGHT = 460, 330
LEFT, RIGHT, TOP, BOTTOM = 46, 452, 14, 292
"""Edges of the drawing's field."""


@dataclass(frozen=True)
class Point:
    """A product: `y` of its dense operations, `effective` of those with two non-zeros."""

    number: int
    name: str
    engine: str
    x: float
    y: float
    effective: float
    text: str


@dataclass(frozen=True)
class Roofline:
    """`roof`: the line as points of a drawing; ticks as (place, text)."""

    key: str
    label: str
    points: tuple[Point, ...]
    roof: str
    peak: str
    peak_y: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    missing: int


_MEMORIES: tuple[tuple[str, str, Callable[[KernelProfile], float | None], int], ...] = (
    ("dram", "DRAM", lambda k: k.intensity, 1),
    ("l2", "L2", lambda k: k.l2_intensity, SECTOR_BYTES),
)


def rooflines(profile: Profile) -> list[Roofline]:
    """By traffic of DRAM and of L2; without those that have no product to show."""
    return [found for memory in _MEMORIES if (found := _roofline(profile, *memory)) is not None]


def _roofline(
    profile: Profile,
    key: str,
    label: str,
    intensity: Callable[[KernelProfile], float | None],
    unit_bytes: int,
) -> Roofline | None:
    rates = profile.rates
    hertz = rates["clock_mhz"] * 1e6
    peak = 2 * max(rates["macs"].values()) * hertz / 1e12
    bandwidth = rates["units"][key] * unit_bytes * hertz / 1e12  # tera bytes a second
    products = [
        (i, k, x)
        for i, k in enumerate(profile.kernels, 1)
        if k.cycles and (x := intensity(k)) is not None
    ]
    missing = sum(1 for k in profile.kernels if k.row["macs_dense"]) - len(products)
    if not products:
        return None
    ridge = peak / bandwidth
    xs = [x for _, _, x in products] + [ridge]
    ys = [peak]
    for _, k, _ in products:
        ys += [k.tera(k.row["macs_dense"]), k.tera(max(1, k.row["macs_effective"]))]
    low_x, high_x = floor(log10(min(xs) / 2)), ceil(log10(max(xs) * 2))
    low_y, high_y = max(floor(log10(min(ys))), ceil(log10(peak)) - 5), ceil(log10(max(ys) * 1.2))

    def place_x(x: float) -> float:
        return LEFT + (RIGHT - LEFT) * (log10(x) - low_x) / (high_x - low_x)

    def place_y(y: float) -> float:
        share = (log10(max(y, 10.0**low_y)) - low_y) / (high_y - low_y)
        return BOTTOM - (BOTTOM - TOP) * share

    points = tuple(
        Point(
            i, k.name, k.engine or "simt", place_x(x), place_y(k.tera(k.row["macs_dense"])),
            place_y(k.tera(k.row["macs_effective"])),
            f"{i}. {k.name}: {number(x)} operations a byte, {number(k.tera(k.row['macs_dense']))} "
            f"TFLOP/s dense, {number(k.tera(k.row['macs_effective']))} effective",
        )
        for i, k, x in products
    )  # fmt: skip
    foot = max(10.0**low_x, 10.0**low_y / bandwidth)
    corners = [(foot, bandwidth * foot), (ridge, peak), (10.0**high_x, peak)]
    return Roofline(
        key,
        label,
        points,
        " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in corners),
        f"{number(peak)} TFLOP/s",
        place_y(peak),
        tuple((place_x(10.0**e), _power(e)) for e in range(low_x, high_x + 1)),
        tuple((place_y(10.0**e), _power(e)) for e in range(low_y, high_y + 1)),
        missing,
    )


def _power(exponent: int) -> str:
    if -2 <= exponent <= 3:
        return f"{10.0**exponent:g}"
    if exponent < 6:
        return f"{10 ** (exponent - 3)}k"
    return f"1e{exponent}"

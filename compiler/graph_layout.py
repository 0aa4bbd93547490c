"""Where the nodes of a model graph stand in a drawing: layers from top to bottom.

In: a `ModelGraph`. Out: boxes by node and the lines between them, in pixels.

Layers are networkx's topological generations; within a layer nodes are ordered by where their
neighbours stand, and a line that passes layers goes through a place of its own in each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx

from .graph import ModelGraph

WIDTH, HEIGHT = 208, 54
_GAP_X, _GAP_Y = 26, 46
_NARROW = 12
"""Width of the place of a line that passes by."""
_SWEEPS = 6


@dataclass(frozen=True)
class Box:
    """A node: its left upper corner."""

    name: str
    x: float
    y: float


@dataclass
class Layout:
    """Boxes by name; lines as (from, to, points); the size of the drawing."""

    boxes: dict[str, Box] = field(default_factory=dict[str, Box])
    lines: list[tuple[str, str, list[tuple[float, float]]]] = field(
        default_factory=list[tuple[str, str, list[tuple[float, float]]]]
    )
    width: float = 0
    height: float = 0


def layout(graph: ModelGraph) -> Layout:
    """The drawing of a graph."""
    g: nx.DiGraph[str] = graph.digraph
    rank = {n: i for i, layer in enumerate(nx.topological_generations(g)) for n in layer}
    layers: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name in g.nodes:
        layers[rank[name]].append(name)
    chains: list[list[str]] = []
    up: dict[str, list[str]] = {}
    down: dict[str, list[str]] = {}
    for a, b in g.edges:
        between = [f"\0{a}\0{b}\0{i}" for i in range(rank[a] + 1, rank[b])]
        for i, place in enumerate(between, rank[a] + 1):
            layers[i].append(place)
        chain = [a, *between, b]
        chains.append(chain)
        for first, second in itertools.pairwise(chain):
            down.setdefault(first, []).append(second)
            up.setdefault(second, []).append(first)
    _order(layers, up, down)
    return _placed(layers, chains, up, down)


def _order(layers: list[list[str]], up: dict[str, list[str]], down: dict[str, list[str]]) -> None:
    """Sweep up and down: each node goes to the mean place of its neighbours."""
    for sweep in range(_SWEEPS):
        falling = sweep % 2 == 0
        towards = up if falling else down
        steps = range(1, len(layers)) if falling else range(len(layers) - 2, -1, -1)
        for i in steps:
            place = {n: k for k, n in enumerate(layers[i - 1 if falling else i + 1])}
            own = {n: float(k) for k, n in enumerate(layers[i])}

            def key(n: str, place: dict[str, int] = place, own: dict[str, float] = own,
                    towards: dict[str, list[str]] = towards) -> float:  # fmt: skip
                near = [place[m] for m in towards.get(n, ()) if m in place]
                return sum(near) / len(near) if near else own[n]

            layers[i].sort(key=key)


def _size(name: str) -> int:
    return _NARROW if name.startswith("\0") else WIDTH


def _placed(
    layers: list[list[str]],
    chains: Iterable[list[str]],
    up: dict[str, list[str]],
    down: dict[str, list[str]],
) -> Layout:
    middle: dict[str, float] = {}
    for layer in layers:
        total = sum(_size(n) + _GAP_X for n in layer) - _GAP_X
        x = -total / 2
        for name in layer:
            middle[name] = x + _size(name) / 2
            x += _size(name) + _GAP_X
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            towards = up if sweep % 2 == 0 else down
            wish = [
                sum(near) / len(near) if (near := [middle[m] for m in towards.get(n, ())])
                else middle[n]
                for n in layer
            ]  # fmt: skip
            for name, x in zip(layer, _apart(layer, wish), strict=True):
                middle[name] = x
    left = min((middle[n] - _size(n) / 2 for n in middle), default=0) - _GAP_X
    right = max((middle[n] + _size(n) / 2 for n in middle), default=0) + _GAP_X
    row = {n: i * (HEIGHT + _GAP_Y) + _GAP_Y / 2 for i, layer in enumerate(layers) for n in layer}
    result = Layout(width=right - left, height=len(layers) * (HEIGHT + _GAP_Y))
    for name, x in middle.items():
        if not name.startswith("\0"):
            result.boxes[name] = Box(name, x - WIDTH / 2 - left, row[name])
    for chain in chains:
        points = [(middle[chain[0]] - left, row[chain[0]] + HEIGHT)]
        for name in chain[1:-1]:
            points += [(middle[name] - left, row[name]), (middle[name] - left, row[name] + HEIGHT)]
        points.append((middle[chain[-1]] - left, row[chain[-1]]))
        result.lines.append((chain[0], chain[-1], points))
    return result


def _apart(layer: list[str], wish: list[float]) -> list[float]:
    """As near to the wishes as the order and the gaps allow: neighbours that collide are merged
    into one block at the mean of what its members wish."""
    blocks: list[tuple[float, int, float]] = []
    offsets: list[float] = []
    at = 0.0
    for i, name in enumerate(layer):
        if i:
            at += (_size(layer[i - 1]) + _size(name)) / 2 + _GAP_X
        offsets.append(at)
        start, count, total = wish[i] - at, 1, wish[i] - at
        while blocks and blocks[-1][0] > start:
            _, n, t = blocks.pop()
            count, total = count + n, total + t
            start = total / count
        blocks.append((start, count, total))
    starts = [start for start, count, _ in blocks for _ in range(count)]
    return [s + o for s, o in zip(starts, offsets, strict=True)]


def path_of(points: list[tuple[float, float]]) -> str:
    """An SVG path through the points, vertical at each."""
    x, y = points[0]
    path = f"M{x:.1f} {y:.1f}"
    for to_x, to_y in points[1:]:
        if abs(to_x - x) < 0.5:
            path += f"V{to_y:.1f}"
        else:
            half = (y + to_y) / 2
            path += f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}"
        x, y = to_x, to_y
    return path

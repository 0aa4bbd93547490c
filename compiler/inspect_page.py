"""`dstc inspect --html`: a compilation as one page that needs nothing else.

In: a compiled model, its stages and rewrites, perhaps a run on the simulator. Out: HTML. IR is
kept in it compressed, a function or kernel at a time, once where it does not change; the page
(inspect.js) unpacks what is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..backend.emit import emitted_ops
from ..dialects.dstc_isa import KernelOp
from ..dialects.dstc_tile import LaunchOp
from ..runtime.executor import KernelRun, RunResult
from .api import Compiled
from .blobs import Blobs
from .graph import OpNode
from .graph_layout import HEIGHT, WIDTH, layout, path_of
from .inspect_stages import Piece, Stages
from .instruments import pass_name
from .report import CAUSES
from .rewrites import Rewrites

_FOLDER = Path(__file__).parent
LEVELS = ("model", "dstc", "tile", "isa")
"""What the page calls the levels of IR; each stands for its last stage."""


def render_page(
    compiled: Compiled, stages: Stages, rewrites: Rewrites, result: RunResult | None, title: str
) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    blobs = Blobs()
    data = _data(compiled, stages, rewrites, result, blobs)
    data["title"] = title
    environment: Any = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("inspect.html.jinja").render(
        title=title,
        machine=compiled.machine.name,
        css=(_FOLDER / "inspect.css").read_text(),
        js=(_FOLDER / "inspect.js").read_text(),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        blobs=blobs.texts,
        drawing=_drawing(compiled, data["launches"]),
    )


def _data(
    compiled: Compiled,
    stages: Stages,
    rewrites: Rewrites,
    result: RunResult | None,
    blobs: Blobs,
) -> dict[str, Any]:
    passes: list[dict[str, Any]] = []
    listed: list[list[Any]] = []
    before: list[int] = []
    for i, stage in enumerate(stages.stages):
        pieces = [_piece(piece, blobs) for piece in stage.pieces]
        now = [p["blob"] for p in pieces]
        told = rewrites.by_pass.get(i - 1, [])
        passes.append(
            {
                "name": pass_name(stage.spec) or "input",
                "spec": stage.spec,
                "seconds": compiled.passes[i - 1].seconds if i else 0.0,
                "ops": stage.ops,
                "changed": i == 0 or now != before,
                "rewrites": len(told),
                "blob": blobs.add([vars(r) for r in told]) if told else None,
            }
        )
        listed.append(pieces)
        before = now
    launches, work = _launches(compiled, stages, result)
    return {
        "machine": compiled.machine.name,
        "passes": passes,
        "stages": listed,
        "levels": _levels(stages),
        "parents": blobs.add([list(p) if len(p) != 1 else p[0] for p in stages.parents]),
        "sources": blobs.add(stages.sources),
        "homes": blobs.add(_homes(stages)),
        "launches": launches,
        "work": blobs.add(work),
        "causes": {key: [label, colour] for key, (label, colour, _) in CAUSES.items()},
        "nodes": {n.name: list(n.onnx_nodes) for n in _nodes(compiled)},
    }


def _nodes(compiled: Compiled) -> Iterable[OpNode]:
    return [] if compiled.graph is None else compiled.graph.topological()


def _piece(piece: Piece, blobs: Blobs) -> dict[str, Any]:
    return {
        "name": piece.name,
        "kind": piece.kind,
        "count": piece.count,
        "lines": len(piece.lines),
        "source": list(piece.source),
        "blob": blobs.add({"l": "\n".join(piece.lines), "o": list(piece.ops)}),
    }


def _levels(stages: Stages) -> list[int]:
    """The stage of each of `LEVELS`."""
    kinds = [{piece.kind for piece in stage.pieces} for stage in stages.stages]
    last = len(kinds) - 1

    def before(kind: str) -> int:
        return next((i for i, found in enumerate(kinds) if kind in found), last + 1) - 1

    return [0, max(0, before("dstc_tile.kernel")), max(0, before("dstc_isa.kernel")), last]


def _homes(stages: Stages) -> dict[str, list[int]]:
    """Function or kernel -> the ops that were ever in it."""
    found: dict[str, dict[int, None]] = {}
    for stage in stages.stages:
        for piece in stage.pieces:
            found.setdefault(piece.name, {}).update(dict.fromkeys(piece.ops))
    return {name: [n for n in ops if n >= 0] for name, ops in found.items()}


def _launches(
    compiled: Compiled, stages: Stages, result: RunResult | None
) -> tuple[list[dict[str, Any]], dict[int, list[Any]]]:
    """Launches in their order; for each op of a kernel [times issued, {cause: cycles waited}]."""
    assert compiled.module is not None and compiled.program.plan is not None
    ops = [op for op in compiled.module.walk() if isinstance(op, LaunchOp)]
    steps = [s for s in compiled.program.plan.steps if hasattr(s, "kernel")]
    kernels = {
        op.sym_name.data: op for op in compiled.module.body.block.ops if isinstance(op, KernelOp)
    }
    runs: Sequence[KernelRun | None] = [None] * len(ops) if result is None else list(result.kernels)
    launches: list[dict[str, Any]] = []
    work: dict[int, list[Any]] = {}
    for op, step, run in zip(ops, steps, runs, strict=True):
        name = op.kernel.data
        row: dict[str, Any] = {
            "name": step.name,
            "op": stages.numbers[op],
            "kernel": name,
            "root": stages.numbers.get(kernels[name]),
            "source": list(getattr(step, "source", ())),
            "engine": getattr(step, "engine", "") or "simt",
        }
        if run is not None:
            row.update(
                cycles=run.result.cycles, time=run.result.time_us, stalls=run.result.stalls,
                instructions=run.result.warp_instructions, a=run.a_density, b=run.b_density,
            )  # fmt: skip
            _add_work(kernels[name], run, stages, work)
        launches.append(row)
    return launches, work


def _add_work(kernel: KernelOp, run: KernelRun, stages: Stages, work: dict[int, list[Any]]) -> None:
    names = list(run.result.stalls)
    for at, op in enumerate(emitted_ops(kernel)):
        entry = work.setdefault(stages.numbers[op], [0, {}])
        entry[0] += int(run.result.pc_issued[at])
        for cause, cycles in zip(names, run.result.pc_stalled[at], strict=False):
            if cycles:
                entry[1][cause] = entry[1].get(cause, 0) + int(cycles)


def _drawing(compiled: Compiled, launches: list[dict[str, Any]]) -> dict[str, Any]:
    """Boxes and lines of the model graph, each box with its engine, densities and time."""
    if compiled.graph is None:
        return {"boxes": [], "lines": [], "width": 0, "height": 0}
    placed = layout(compiled.graph)
    boxes: list[dict[str, Any]] = []
    for node in _nodes(compiled):
        box = placed.boxes[node.name]
        names = set(node.onnx_nodes) or {node.name}
        own = [x for x in launches if x["source"] and x["source"][0] in names]
        part = [x for x in launches if not own and names & set(x["source"])]
        boxes.append(
            {
                "name": node.name,
                "op": node.op if node.op != "elementwise" else node.attrs.get("function", node.op),
                "x": box.x,
                "y": box.y,
                "engine": _engine(own),
                "note": _note(own, part),
            }
        )
    return {
        "boxes": boxes,
        "lines": [{"path": path_of(points), "from": a, "to": b} for a, b, points in placed.lines],
        "width": placed.width,
        "height": placed.height,
        "box": (WIDTH, HEIGHT),
    }


def _engine(own: list[dict[str, Any]]) -> str:
    """Of the launches of a node: that of its product, if there is one."""
    engines = [x["engine"] for x in own]
    return next((e for e in engines if e != "simt"), engines[0] if engines else "none")


def _note(own: list[dict[str, Any]], part: list[dict[str, Any]]) -> str:
    """Engine, densities and time; or with whom the node runs."""
    if not own:
        return f"in {part[0]['name']}" if part else "folded away"
    words = [_engine(own)]
    product = next((x for x in own if x.get("a") is not None), None)
    if product is not None:
        words.append(f"{_share(product['a'])} × {_share(product['b'])}")
    if any("time" in x for x in own):
        words.append(f"{sum(x.get('time', 0.0) for x in own):.1f} µs")
    return " · ".join(words)


def _share(density: float | None) -> str:
    return "?" if density is None else f"{100 * density:.0f} %"

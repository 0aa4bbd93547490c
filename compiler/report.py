"""The report of a run: one HTML page that needs nothing else.

In: a `Profile`. Out: HTML with its numbers: what limits the run, layers beside other machines,
speed of light by unit, rooflines, where the cycles go, sparsity, and each kernel line by line.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runtime.formats import OHMMA_A, OHMMA_B
from ..runtime.pictures import Picture
from .blobs import Blobs
from .profile import KernelProfile, Profile
from .roofline import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, rooflines
from .run_facts import changed, count, limit_text, number, percent, short
from .units import UNITS

TEMPLATE = "report.html.jinja"
_FOLDER = Path(__file__).parent

CAUSES: dict[str, tuple[str, str, str]] = {
    "issued": ("issued", "#2f7ed8", "an instruction issued"),
    "tensor": ("tensor core busy", "#e4572e", "the tensor core, or room in its queue"),
    "accumulator": ("accumulators", "#b3261e", "the accumulation buffer"),
    "scoreboard_tensor": ("tensor result", "#f2a07b", "a result of the tensor core"),
    "scoreboard_dram": ("DRAM load", "#54307a", "data from DRAM"),
    "scoreboard_l2": ("L2 load", "#7b4fa3", "data from L2, or an atomic"),
    "scoreboard_l1": ("L1 load", "#9b78bd", "data from L1"),
    "global_queue": ("global queue", "#b79ad1", "room before L1"),
    "scoreboard_shared": ("shared load", "#1f8a70", "data from shared memory"),
    "shared_queue": ("shared queue", "#86c9b7", "room before shared memory"),
    "scoreboard_alu": ("ALU result", "#c99700", "a result of the ALU or FMA pipe"),
    "scoreboard_mufu": ("MUFU result", "#8a6d00", "a result of the special function unit"),
    "unit": ("pipe busy", "#efcf63", "the interval of an ALU, FMA, MUFU or load/store pipe"),
    "branch": ("branch", "#8d6e63", "a branch's target"),
    "barrier": ("barrier", "#d9a7c7", "the other warps of the CTA"),
    "no_warp": ("no warp", "#9aa3ad", "no warp is resident"),
}
"""Cause of a sub-core cycle -> label, colour, meaning; the order of the stacked bars."""

UNKNOWN = ("#5f6b76", "a cause of the simulator")
"""Colour and meaning of a cause that is not listed."""
HOT_LINES = 12
"""Lines of a kernel that the page shows at once."""
_INK = (0x24, 0x68, 0xC8)
"""Colour of a non-zero in a picture; zeros are transparent."""


def render_report(profile: Profile) -> str:
    """The page, with every name in it escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment: Any = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count, percent=percent, short=short, number=number, limit_text=limit_text
    )
    facts = profile.facts
    blobs = Blobs()
    return environment.get_template(TEMPLATE).render(
        p=profile,
        f=facts,
        css=(_FOLDER / "report.css").read_text(),
        js=(_FOLDER / "report.js").read_text(),
        changed=changed,
        causes=_causes(profile),
        cause_of=cause_of,
        units=[unit for unit in UNITS if profile.rates["units"][unit.key]],
        layers=_layers(facts),
        others=list(facts["compare"]),
        total=_total(facts),
        rooflines=rooflines(profile),
        chart={"w": WIDTH, "h": HEIGHT, "l": LEFT, "r": RIGHT, "t": TOP, "b": BOTTOM},
        pictured=[(k, _pictures(k)) for k in profile.kernels if k.pictures],
        listings=[_listing(k, blobs) for k in profile.kernels],
        cause_table={key: [entry[0], entry[1]] for key, entry in CAUSES.items()},
        blobs=blobs.texts,
        hot_lines=HOT_LINES,
        volume=OHMMA_A * OHMMA_B,
    )


def cause_of(cause: str) -> tuple[str, str]:
    """Label and colour of a cause."""
    return CAUSES[cause][:2] if cause in CAUSES else (cause, UNKNOWN[0])


def _total(facts: Mapping[str, Any]) -> dict[str, float]:
    keys = ("cycles", "time_us", "warp_instructions", "macs_dense", "macs_effective",
            "ohmma_issued", "ohmma_skipped", "dram_bytes")  # fmt: skip
    return {key: sum(k[key] for k in facts["kernels"]) for key in keys}


def _causes(profile: Profile) -> list[tuple[str, str, str, str]]:
    """(key, label, colour, meaning) of the causes that occur."""
    occur = [cause for cause, cycles in profile.stalls.items() if cycles]
    known = [(key, *CAUSES[key]) for key in CAUSES if key in occur]
    return known + [(key, key, *UNKNOWN) for key in occur if key not in CAUSES]


def _layers(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers, each with its cycles on the machines compared; then those that only they have."""
    others = [
        {layer["name"]: layer["cycles"] for layer in other["layers"]}
        for other in facts["compare"].values()
    ]
    rows = [
        {**layer, "others": [other.get(layer["name"], 0) for other in others]}
        for layer in facts["layers"]
    ]
    known = {layer["name"] for layer in facts["layers"]}
    for name in dict.fromkeys(n for other in others for n in other if n not in known):
        blank = dict.fromkeys(("engine", "a_density", "b_density", "share", "limit"))
        zero = dict.fromkeys(("cycles", "time_us", "macs_dense", "macs_effective", "kernels"), 0)
        cycles = [other.get(name, 0) for other in others]
        rows.append({"name": name, "op": "-", **blank, **zero, "others": cycles})
    return rows


def _listing(kernel: KernelProfile, blobs: Blobs) -> dict[str, int] | None:
    """The numbers of the blobs with texts, and with counts, of a launch's lines."""
    if not kernel.lines:
        return None
    code = kernel.code
    return {
        "text": blobs.add({"text": code["text"], "sources": code["sources"]}),
        "counts": blobs.add(
            {"issued": kernel.row["pc_issued"], "stalled": kernel.row["pc_stalled"]}
        ),
    }


def _pictures(kernel: KernelProfile) -> list[dict[str, Any]]:
    """Of a product's operands: image, shape, density, and the bars of the histogram."""
    assert kernel.pictures is not None
    found: list[dict[str, Any]] = []
    for side, chunk, picture in zip("AB", (OHMMA_A, OHMMA_B), kernel.pictures, strict=True):
        most = int(picture.histogram.max()) or 1
        rows, columns = picture.cells.shape
        found.append(
            {
                "side": side,
                "chunk": chunk,
                "uri": png(picture),
                "shape": picture.shape,
                "rows": rows,
                "columns": columns,
                "density": picture.nonzeros / (picture.shape[0] * picture.shape[1]),
                "window": picture.window,
                "vectors": int(picture.histogram.sum()),
                "empty": int(picture.histogram[0]) / max(1, int(picture.histogram.sum())),
                "bars": [(i, int(n), int(n) / most) for i, n in enumerate(picture.histogram)],
            }
        )
    return found


def png(picture: Picture) -> str:
    """The picture as a data URI: the more non-zeros in a block, the less transparent."""
    rows, columns = picture.cells.shape
    pixels = b"".join(b"\0" + row.tobytes() for row in picture.cells)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(_INK) * 256),
        (b"tRNS", bytes(range(256))),
        (b"IDAT", zlib.compress(pixels, 9)),
        (b"IEND", b""),
    )
    raw = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        raw += struct.pack(">I", len(body)) + kind + body
        raw += struct.pack(">I", zlib.crc32(kind + body))
    return "data:image/png;base64," + base64.b64encode(raw).decode()

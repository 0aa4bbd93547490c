"""One measured convolution on the simulator: compiled, run, checked, its time beside the measured.

In: a row of measurements, a machine. Out: a row of facts: both times, schedule, stalls, whether the
values are right.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..passes.choose import schedule_facts
from ..runtime.device import Device
from ..runtime.lowered import spread_out
from ..runtime.machine import Machine
from .bench_conv import Conv, compile_conv
from .validate import some_lines
from .validate_data import ConvRow
from .validate_row import facts, warm, whole_numbers

Array = NDArray[Any]
F16 = NDArray[np.float16]


def simulate(row: ConvRow, machine: Machine, *, threads: int | None = None) -> dict[str, Any]:
    """The facts of one row; raises `DstcError` for what the machine cannot do.

    The dense engine, as the measured library: windows formed in the kernel, one launch.
    """
    conv = row.conv()
    x, w = (whole_numbers(shape, which) for which, shape in enumerate((conv.image, conv.weights)))
    compiled, schedule = compile_conv(conv, machine, w, "dense")
    is_warm = warm(compiled, machine)
    started = time.perf_counter()
    device = Device(machine, threads=threads)
    if is_warm:
        compiled.run(x, device=device, statistics=False)
    ran = compiled.run(x, device=device, statistics=False)
    wall = time.perf_counter() - started
    (kernel,) = ran.kernels
    (output,) = ran.outputs.values()
    return {
        "index": row.index,
        "source": row.source,
        "label": conv.label,
        "channels": row.c,
        "channels_padded": row.padded_channels,
        "filters": row.k,
        "kernel": [row.r, row.s],
        "stride": [row.stride_h, row.stride_w],
        "layout": "conv",
        **facts(row.us, conv.sizes, kernel, machine),
        "sampled": None,
        "warm_l2": is_warm,
        "schedule": schedule_facts(schedule),
        "check": check(conv, x, w, output),
        "wall_seconds": {"compile": compiled.seconds, "simulate": wall},
    }


def check(conv: Conv, x: F16, w: F16, output: Array) -> dict[str, Any]:
    """Compare `output` (N x K x OH x OW) with numpy at up to 64 filters and 64 pixels."""
    rng = np.random.default_rng(0)
    n, filters, oh, ow = conv.result
    kept = some_lines(rng, np.arange(filters)), some_lines(rng, np.arange(n * oh * ow))
    matrix = w.reshape(filters, -1)[kept[0]].astype(np.float32)
    want = matrix @ columns_of(conv, x, kept[1]).astype(np.float32)
    got = output.transpose(1, 0, 2, 3).reshape(filters, -1)[np.ix_(*kept)]
    right = got == want.astype(np.float16 if conv.out == "f16" else np.float32).astype(got.dtype)
    return {"ok": bool(right.all()), "entries": int(right.size), "right": int(right.sum())}


def columns_of(conv: Conv, x: F16, pixels: NDArray[np.int64]) -> F16:
    """The columns of the lowered matrix of some pixels of the result: (C*R*S) x pixels."""
    _, _, oh, ow = conv.result
    top, left, bottom, right = conv.pads
    padded = np.pad(spread_out(x, conv.spread), ((0, 0), (0, 0), (top, bottom), (left, right)))
    number, within = np.divmod(pixels, oh * ow)
    row, column = np.divmod(within, ow)
    r, s = (np.arange(k) * d for k, d in zip(conv.kernel, conv.dilations, strict=True))
    at = (
        number[:, None, None, None],
        np.arange(conv.channels)[:, None, None],
        (row * conv.strides[0])[:, None, None, None] + r[:, None],
        (column * conv.strides[1])[:, None, None, None] + s,
    )
    return padded[at].reshape(len(pixels), -1).T

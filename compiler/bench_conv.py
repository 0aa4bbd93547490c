"""Measured convolutions: generated images and filters through the same passes and executor as
models.

In: sizes, a window, groups, densities, a seed, a machine, an engine, a lowering. Out: a row of
facts: cycles, schedule, bounds, and whether the device's result is numpy's, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import FloatAttr, ModuleOp, StringAttr, TensorType, f16, f32, f64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.rewriter import InsertPoint

from ..backend.isa.errors import DstcError
from ..backend.isa.program import Launch
from ..dialects.constants import ConstantPool, attach
from ..dialects.conv_window import ConvWindow
from ..dialects.dstc import ConstantOp, Conv2dOp, Engine, MatmulOp, ScheduleAttr
from ..dialects.interpreters.dstc import im2col, image_of, in_groups
from ..passes.choose import schedule_facts
from ..passes.cost_windows import direct
from ..passes.materialize_im2col import EXPLICIT, IMPLICIT, LOWERINGS
from ..runtime.device import Device
from ..runtime.machine import Machine
from ..runtime.nm_format import PATTERNS as NM_PATTERNS
from ..runtime.nm_format import Pattern, prune
from .api import Compiled, compile_module
from .bench import F16, OUTPUTS, peak_rss_bytes, reference, same_bits
from .bounds import Sparsity, Tiles, dense_bounds, dual_bounds
from .driver import new_context
from .estimate import MODE as ESTIMATE
from .estimate import estimate_facts, estimate_kernels

PATTERNS = ("random", *map(str, NM_PATTERNS))
"""Zeros of the filters: each element by itself, or pruned to n:m along (channel, row, column)."""
_DEVICE_BYTES = 1 << 32


@dataclass(frozen=True)
class Conv:
    """A convolution of generated operands: `batch` images of `channels` x `height` x `width`.

    `kernel`, `strides`, `dilations`, `spread`: (height, width), `pads`: top, left, bottom, right;
    densities: shares of non-zeros of images and filters, 0 to 1; `pattern`: of the filters' zeros;
    `out`: f16 or f32. Raises `DstcError` for sizes that do not fit together.
    """

    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    spread: tuple[int, int] = (1, 1)
    a_density: float = 1.0
    w_density: float = 1.0
    pattern: str = "random"
    out: str = "f16"
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = ("batch", "channels", "height", "width", "filters", "groups")
        for name in sizes:
            if getattr(self, name) < 1:
                raise DstcError(f"--{name} {getattr(self, name)}: a size is a positive number")
        for name in ("kernel", "strides", "dilations", "spread"):
            if min(getattr(self, name)) < 1:
                option = {"strides": "stride", "dilations": "dilation"}.get(name, name)
                raise DstcError(f"--{option} {_pair(getattr(self, name))}: both must be positive")
        if min(self.pads) < 0:
            raise DstcError(f"--pad {_pair(self.pads)}: padding is not negative")
        for name in ("a_density", "w_density"):
            if not 0 <= getattr(self, name) <= 1:
                option = name.replace("_", "-")
                raise DstcError(f"--{option} {getattr(self, name):g}: a density is 0 to 1")
        for what, count in (("channels", self.channels), ("filters", self.filters)):
            if count % self.groups:
                raise DstcError(f"--groups {self.groups}: {count} {what} do not fall into so many")
        if self.pattern not in PATTERNS:
            raise DstcError(f"pattern {self.pattern!r} is not known; use {', '.join(PATTERNS)}")
        if self.out not in OUTPUTS:
            raise DstcError(f"--out {self.out}: a result is {' or '.join(OUTPUTS)}")
        if self.seed < 0:
            raise DstcError(f"--seed {self.seed}: a seed is not negative")
        if min(self.window.output((self.height, self.width))) < 1:
            raise DstcError(
                f"--kernel {_pair(self.kernel)}: larger than the padded image of "
                f"{self.height} x {self.width}; give --pad, or less --dilation"
            )
        if 2 * (prod(self.image) + prod(self.weights)) + 4 * prod(self.result) >= _DEVICE_BYTES:
            raise DstcError(f"{self.label}: does not fit the device's 4 GiB; take less")

    @property
    def window(self) -> ConvWindow:
        """How the filters move."""
        return ConvWindow(self.kernel, self.strides, self.pads, self.dilations, self.spread)

    @property
    def image(self) -> tuple[int, int, int, int]:
        """N x C x H x W."""
        return self.batch, self.channels, self.height, self.width

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """K x C/G x R x S."""
        return self.filters, self.channels // self.groups, *self.kernel

    @property
    def result(self) -> tuple[int, int, int, int]:
        """N x K x OH x OW."""
        return self.batch, self.filters, *self.window.output((self.height, self.width))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(M, N, K) of the product of a group."""
        n, k, oh, ow = self.result
        return k // self.groups, n * oh * ow, prod(self.weights[1:])

    @property
    def label(self) -> str:
        """`16x64x56x56-k128-3x3-s1-p1`, with what else is not 1."""
        parts = ["x".join(map(str, self.image)), f"k{self.filters}", _pair(self.kernel, "x")]
        for letter, values, usual in (
            ("s", self.strides, (1, 1)),
            ("p", self.pads, (0, 0, 0, 0)),
            ("d", self.dilations, (1, 1)),
            ("u", self.spread, (1, 1)),
        ):
            if values != usual:
                some = values[:1] if len(set(values)) == 1 else values
                parts.append(letter + _pair(some, "x"))
        return "-".join(parts) + (f"-g{self.groups}" if self.groups > 1 else "")

    @property
    def nm(self) -> Pattern | None:
        """The n:m pattern of the filters."""
        return Pattern.parse(self.pattern) if ":" in self.pattern else None

    def operands(self) -> tuple[F16, F16]:
        """Images and filters: normal values, none of them zero or -0, where not masked."""
        rng = np.random.default_rng(self.seed)
        x = _values(rng, self.image, self.a_density)
        w = _values(rng, self.weights, self.w_density)
        if self.nm is not None:
            matrix = np.ascontiguousarray(w.reshape(self.filters, -1))
            w = prune(matrix, self.nm, "a").reshape(w.shape)
        return x, w


def _pair(values: tuple[int, ...], between: str = ",") -> str:
    return between.join(map(str, values))


def _values(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> F16:
    values = rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
    values[values == 0] = 1
    return np.where(rng.random(shape, dtype=np.float32) < density, values, np.float16(0))


def conv_module(ctx: Context, conv: Conv, weights: F16) -> ModuleOp:
    """`func.func @main(%x: tensor<NxCxHxWxf16>)` with one `dstc.conv2d` on constant filters."""
    for dialect in ("builtin", "func", "dstc"):
        ctx.get_dialect(dialect)
    attach(ctx, ConstantPool({"w": weights}))
    result = TensorType(f16 if conv.out == "f16" else f32, list(conv.result))
    main = FuncOp("main", ([TensorType(f16, list(conv.image))], [result]))
    (x,) = main.body.block.args
    x.name_hint = "x"
    builder = Builder(InsertPoint.at_end(main.body.block))
    w = builder.insert(ConstantOp("w", TensorType(f16, list(conv.weights))))
    op = Conv2dOp(
        x,
        w.result,
        None,
        result,
        strides=conv.strides,
        pads=conv.pads,
        dilations=conv.dilations,
        spread=conv.spread,
        groups=conv.groups,
    )
    op.b_density = FloatAttr(conv.a_density, f64)
    product = builder.insert(op)
    w.result.name_hint, product.result.name_hint = "w", "y"
    builder.insert(ReturnOp(product.result))
    return ModuleOp([main])


def compile_conv(
    conv: Conv,
    machine: Machine,
    weights: F16,
    engine: str = "auto",
    lowering: str = IMPLICIT,
    schedule: ScheduleAttr | None = None,
) -> tuple[Compiled, ScheduleAttr]:
    """The compiled convolution and the schedule it got, or was given."""
    if lowering not in LOWERINGS:
        raise DstcError(f"--lowering {lowering}: use {' or '.join(LOWERINGS)}")
    ctx = new_context()
    module = conv_module(ctx, conv, weights)
    seen: list[ScheduleAttr] = []

    def look(_index: int, _count: int, spec: str) -> None:
        for op in (op for op in module.walk() if isinstance(op, MatmulOp)):
            if schedule is not None and spec.startswith("select-schedule"):
                op.schedule = schedule
                if schedule.engine.data == Engine.NM and conv.nm is not None:
                    op.a_pattern = StringAttr(conv.pattern)
            if op.schedule is not None:
                seen.append(op.schedule)

    compiled = compile_module(
        ctx, module, machine=machine, engine=engine, on_pass=look, name="conv", lowering=lowering
    )
    return compiled, seen[-1]


def conv_reference(conv: Conv, x: F16, w: F16, schedule: ScheduleAttr) -> NDArray[np.float32]:
    """What the device computes, in the order of additions that the schedule says; `out` as f32."""
    columns = im2col(x, conv.window)
    product = in_groups(
        w.reshape(conv.filters, -1),
        columns,
        conv.groups,
        lambda a, b: reference(a.astype(np.float16), b.astype(np.float16), schedule, conv.out),
    )
    n, _, oh, ow = conv.result
    return np.ascontiguousarray(image_of(product, (n, oh, ow)))


def run_conv(
    conv: Conv,
    *,
    machine: str | Machine = "dstc",
    engine: str = "auto",
    lowering: str = IMPLICIT,
    mode: str = "cycle",
    threads: int | None = None,
    checks: str = "basic",
    check: bool = True,
    schedule: ScheduleAttr | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """One row of `dstc bench conv --json`.

    `cycles` and `time_us` are of all kernels, launches included, `kernels` has them one by one;
    `schedule`, `bounds`, `stalls`, `counters` are the product's. `bit_exact` compares with numpy in
    the order (channel, kernel row, kernel column), None without `check`. Raises `DstcError` for
    what the machine cannot do. Mode `estimate` simulates nothing.
    """
    target = machine if isinstance(machine, Machine) else Machine.load(machine)
    x, w = conv.operands()
    compiled, chosen = compile_conv(conv, target, w, engine, lowering, schedule)
    lowering = _lowering(compiled)
    left = (
        Sparsity(conv.nm.n, conv.nm.m, 0)
        if chosen.engine.data == Engine.NM and conv.nm is not None
        else None
    )
    row: dict[str, Any] = {
        **_facts(conv),
        "a_density_measured": np.count_nonzero(x) / x.size,
        "w_density_measured": np.count_nonzero(w) / w.size,
        "machine": target.name,
        "engine": chosen.engine.data,
        "lowering": lowering,
        "mode": mode,
        "schedule": schedule_facts(chosen),
        "compile_seconds": compiled.seconds,
        "bounds": _bounds(conv, x, w, chosen, target, lowering, left),
        "limit": None,
        "estimate": None,
        "choice": compiled.choices[0].to_json() if explain and compiled.choices else None,
    }
    if mode == ESTIMATE:
        return {**row, **_estimated(compiled, conv, target), "peak_rss_bytes": peak_rss_bytes()}
    device = Device(target, mode=mode, threads=threads, checks=checks)
    result = compiled.run(x, device=device, statistics=False)
    (output,) = result.outputs.values()
    exact = same_bits(
        np.ascontiguousarray(output), conv_reference(conv, x, w, chosen)
    ) if check else None  # fmt: skip
    product = result.kernels[-1]
    timed = mode == "cycle"
    cycles = sum(k.result.cycles for k in result.kernels)
    return {
        **row,
        "kernels": [
            {"name": k.launch.name, "op": k.launch.op, "cycles": k.result.cycles if timed else None}
            for k in result.kernels
        ],
        "cycles": cycles if timed else None,
        "time_us": result.time_us if timed else None,
        "tflops": _tflops(conv, cycles, target) if timed and cycles else None,
        "warp_instructions": result.warp_instructions,
        "wall_seconds": result.wall_seconds,
        "bit_exact": exact,
        "stalls": product.result.stalls if timed else None,
        "occupancy": product.result.occupancy,
        "counters": product.result.counters,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def _facts(conv: Conv) -> dict[str, Any]:
    m, n, k = conv.sizes
    return {
        "batch": conv.batch,
        "channels": conv.channels,
        "height": conv.height,
        "width": conv.width,
        "filters": conv.filters,
        "kernel": list(conv.kernel),
        "stride": list(conv.strides),
        "pad": list(conv.pads),
        "dilation": list(conv.dilations),
        "groups": conv.groups,
        "spread": list(conv.spread),
        "m": m,
        "n": n,
        "k": k,
        "pattern": conv.pattern,
        "out": conv.out,
        "seed": conv.seed,
        "a_density": conv.a_density,
        "w_density": conv.w_density,
    }


def _tflops(conv: Conv, cycles: float, machine: Machine) -> float:
    """2 M N K of all groups, whatever is skipped or padded."""
    seconds = cycles / (machine["clock.core_mhz"] * 1e6)
    return 2 * conv.groups * prod(conv.sizes) / seconds / 1e12


def _lowering(compiled: Compiled) -> str:
    """What the convolution got: a lowered matrix is written by a kernel."""
    plan = compiled.program.plan
    assert plan is not None
    lowered = any(isinstance(s, Launch) and s.op == "im2col" for s in plan.steps)
    return EXPLICIT if lowered else IMPLICIT


def _bounds(
    conv: Conv, x: F16, w: F16, schedule: ScheduleAttr, machine: Machine, lowering: str,
    sparse: Sparsity | None,
) -> dict[str, float | None]:  # fmt: skip
    """Of the product: on the image, or on the lowered matrix where that is in memory."""
    tiles, out_bytes = Tiles(schedule.cta_tile, schedule.warp_tile), 2 if conv.out == "f16" else 4
    if schedule.engine.data == Engine.DUAL:
        columns = im2col(x, conv.window)
        found = dual_bounds(w.reshape(conv.filters, -1), columns, tiles, machine, out_bytes)
        # of an image, windows share what is loaded
        shared = ("issue", "l1", "l2", "dram") if lowering == IMPLICIT else ()
        return {key: None if key in shared else bound for key, bound in found.items()}
    implicit = lowering == IMPLICIT
    image = x.nbytes // conv.groups if implicit else None
    of_group = dense_bounds(conv.sizes, tiles, machine, out_bytes, sparse, image)
    m, _, k = conv.sizes
    alone = implicit and direct(m, k, conv.window.taps, conv.groups)
    unused = ("hmma", "issue", "shared_memory") if alone else ()
    return {
        key: None if bound is None or key in unused else bound * conv.groups
        for key, bound in of_group.items()
    }


def _estimated(compiled: Compiled, conv: Conv, machine: Machine) -> dict[str, Any]:
    """What a closed form knows of a row."""
    kernels = estimate_kernels(compiled)
    cycles = sum(k.prediction.cycles for k in kernels)
    return {
        "kernels": [
            {"name": k.launch.name, "op": k.launch.op, "cycles": k.cycles} for k in kernels
        ],
        "cycles": round(cycles),
        "time_us": sum(k.time_us for k in kernels),
        "tflops": _tflops(conv, cycles, machine),
        "wall_seconds": 0.0,
        **dict.fromkeys(("warp_instructions", "bit_exact", "stalls", "occupancy", "counters")),
        **estimate_facts(kernels[-1].prediction),
    }

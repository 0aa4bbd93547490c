"""A compiled program: kernels, the launch plan and constant data, and their checks.

In: code words and plan from the compiler or the assembler. Out: objects that the runtime runs;
`Program.save` and `Program.load` keep them in the container of `container.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .encoding import ALWAYS, Words, decode, scan
from .errors import DstcError
from .files import read_bytes, write_atomic
from .image_layout import ImageLayout
from .layout import BitmapLayout, DenseLayout, NmLayout
from .table import INSTRUCTIONS, MAX_ACC_TILES, NM_SHAPES, NUM_REGISTERS, TILE_M, WINDOWS

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]*")
"""Names of kernels and parameters."""
MAX_WARPS = 32
"""Warps of a CTA."""
BUFFER_KINDS = ("input", "output", "constant", "temporary")
ELEMENT_BYTES = {"f16": 2, "f32": 4, "i32": 4, "u32": 4}
"""Bytes an element of the dense dtypes. u32 are counters, which start from zero."""
DTYPES = (*ELEMENT_BYTES, "bitmap", "nm", "image")


def _require(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise DstcError(f"{where}: {what}")


@dataclass(eq=False)
class Kernel:
    """One kernel. `code`: uint64 (n, 2); `shared_bytes` a CTA; `acc_tiles` 32x32 f32 tiles a warp.

    `params` names the 32-bit parameter words in order: word i is c[4*i]. `sources` says for each
    instruction what it was made from, or is empty.
    """

    name: str
    code: Words
    registers: int
    warps: int = 1
    shared_bytes: int = 0
    acc_tiles: int = 0
    params: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.code = np.ascontiguousarray(self.code, np.uint64).reshape(-1, 2)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Kernel)
            and np.array_equal(self.code, other.code)
            and all(getattr(self, n) == getattr(other, n) for n in self.__dict__ if n != "code")
        )

    def validate(self) -> None:
        """Raises `DstcError` unless the kernel is sound.

        Every instruction decodes strictly, branches stay inside, the last instruction cannot fall
        off the end, and registers, accumulation tiles and parameters are within what is declared.
        """
        where = f"kernel {self.name}"
        _require(NAME.fullmatch(self.name) is not None, f"kernel {self.name!r}",
                 f"the name must match {NAME.pattern}")  # fmt: skip
        for name in self.params:
            _require(NAME.fullmatch(name) is not None, where,
                     f"parameter {name!r} must match {NAME.pattern}")  # fmt: skip
        _require(len(set(self.params)) == len(self.params), where, "two parameters share a name")
        for what, value, least, most in (
            ("warps", self.warps, 1, MAX_WARPS),
            ("registers", self.registers, 0, NUM_REGISTERS),
            ("acc tiles", self.acc_tiles, 0, MAX_ACC_TILES),
            ("shared bytes", self.shared_bytes, 0, (1 << 32) - 1),
        ):
            _require(least <= value <= most, where,
                     f"{what} must be {least} to {most}, not {value}")  # fmt: skip
        _require(len(self.code) > 0, where, "there is no instruction; end it with EXIT")
        _require(len(self.sources) in (0, len(self.code)), where,
                 f"{len(self.sources)} sources for {len(self.code)} instructions")  # fmt: skip
        self._validate_code(where)

    def _validate_code(self, where: str) -> None:
        facts = scan(self.code)
        if not facts.valid.all():
            index = int(facts.valid.argmin())
            try:
                decode(*self.code[index].tolist())
            except DstcError as error:
                raise DstcError(f"{where}: instruction {index}: {error}") from None
            raise AssertionError(f"scan and decode disagree on {self.code[index]}")
        for what, needed, limit in (
            ("register R", facts.registers - 1, self.registers),
            ("accumulation tile ACC", facts.acc, self.acc_tiles),
            ("parameter byte ", facts.param, 4 * len(self.params)),
            ("branch target ", facts.target, len(self.code)),
        ):
            over = needed >= limit
            if over.any():
                index = int(over.argmax())
                raise DstcError(
                    f"{where}: instruction {index}: {what}{needed[index]} does not exist; "
                    f"the kernel has {limit}"
                )
        last = decode(*self.code[-1].tolist())
        tags = INSTRUCTIONS[last.mnemonic].tags
        if last.guard != ALWAYS or not tags & {"exit", "branch"}:
            raise DstcError(
                f"{where}: it can run past its end; close it with an unguarded EXIT or BRA"
            )


@dataclass
class Buffer:
    """Device memory of the plan; `data` names its initial contents in `Program.data`.

    A dense buffer (f16, f32) is laid out by `DenseLayout.of(shape, element bytes)`; a bitmap by
    `BitmapLayout(bitmap["vectors"], bitmap["depth"], bitmap["window"])`, `bitmap["side"]` being
    "a" or "b". Without a window it is 32.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    data: str | None = None
    bitmap: dict[str, Any] | None = None
    nm: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    """Of an encoded image, `ImageLayout.facts`."""
    offset: int | None = None
    """Its place in the plan's arena; None: it has a place of its own."""

    @property
    def bitmap_window(self) -> int:
        """Vectors that a bitmap condenses over."""
        return TILE_M if self.bitmap is None else self.bitmap.get("window", TILE_M)


@dataclass
class Launch:
    """A kernel launch. `args`: a buffer's name stands for its address, an int for itself (u32).

    `source`: the model's nodes that it computes; `macs_dense`: multiply-adds of the operation when
    nothing is skipped; `a_operand`, `b_operand`: buffers of the operands on the 8- and the 16-side.
    `transposed`: which of the two, `a`, `b` or `ab`, is stored the other way round; `batch`: how
    many products these are, on matrices one below the other; `a_shape`, `b_shape`: of the operands
    as stored, where a buffer holds a tensor of another shape. `window`: b is an image and stands
    for its windows: kernel, strides, pads (4), dilations, spread, groups, and the shape of the
    image (4).
    """

    kernel: str
    name: str
    op: str
    engine: str
    source: tuple[str, ...]
    grid: tuple[int, int, int]
    args: tuple[str | int, ...]
    macs_dense: int = 0
    a_operand: str | None = None
    b_operand: str | None = None
    transposed: str = ""
    batch: int = 1
    a_shape: tuple[int, ...] = ()
    b_shape: tuple[int, ...] = ()
    window: tuple[int, ...] = ()

    @property
    def buffers(self) -> list[str]:
        """Buffers that it reads or writes."""
        return [a for a in self.args if isinstance(a, str)]


@dataclass
class HostStep:
    """An operator that runs on the host. `attributes` hold what JSON can."""

    op: str
    name: str
    source: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def buffers(self) -> list[str]:
        """Buffers that it reads or writes."""
        return [*self.inputs, *self.outputs]


@dataclass
class Port:
    """An input or output of the model, and the buffer that holds it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: str


@dataclass
class Plan:
    """What to allocate and what to run, in order. `metadata` holds what JSON can.

    `arena`: bytes that the buffers with an offset share, one after the other.
    """

    model: str
    machine: str
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    steps: list[Launch | HostStep] = field(default_factory=list[Launch | HostStep])
    inputs: list[Port] = field(default_factory=list[Port])
    outputs: list[Port] = field(default_factory=list[Port])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    arena: int = 0

    def lives(self) -> dict[str, tuple[int, int]]:
        """First and last step that need a buffer; an output is needed behind the last step."""
        found: dict[str, tuple[int, int]] = {}
        for i, step in enumerate(self.steps):
            for name in step.buffers:
                found[name] = (found.get(name, (i, i))[0], i)
        for port in self.outputs:
            if port.buffer in found:
                found[port.buffer] = (found[port.buffer][0], len(self.steps))
        return found


@dataclass
class Program:
    """Kernels by name, the plan that launches them (None: bare kernels), and data by name."""

    kernels: dict[str, Kernel] = field(default_factory=dict[str, Kernel])
    plan: Plan | None = None
    data: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def validate(self) -> None:
        """Raises `DstcError` unless every kernel is sound and the plan fits kernels and data."""
        for name, kernel in self.kernels.items():
            _require(name == kernel.name, f"kernel {kernel.name!r}", f"it is filed under {name!r}")
            kernel.validate()
        if self.plan is not None:
            _validate_plan(self, self.plan)

    def to_bytes(self) -> bytes:
        """The program in its container; the same program gives the same bytes."""
        from .container import pack

        return pack(self)

    @staticmethod
    def from_bytes(data: bytes, name: str = "program") -> Program:
        """Reads a container and validates it; `DstcError` names `name` and what is wrong."""
        from .container import unpack

        program = unpack(data, name)
        try:
            program.validate()
        except DstcError as error:
            raise DstcError(f"{name}: {error}") from None
        return program

    def save(self, path: str | Path) -> None:
        """Writes the container; the file is never half-written."""
        write_atomic(path, self.to_bytes())

    @staticmethod
    def load(path: str | Path) -> Program:
        """Reads and validates the file that `save` wrote; `DstcError` names it and the fault."""
        return Program.from_bytes(read_bytes(path), str(path))


def _validate_plan(program: Program, plan: Plan) -> None:
    buffers = {buffer.name: buffer for buffer in plan.buffers}
    _require(len(buffers) == len(plan.buffers), "plan", "two buffers share a name")
    for buffer in plan.buffers:
        _validate_buffer(buffer, program.data)
        if buffer.offset is not None:
            within = buffer.offset >= 0 and buffer.offset + buffer.bytes <= plan.arena
            _require(within, f"buffer {buffer.name!r}", "it is not within the arena")

    def known(where: str, *names: str | None) -> None:
        for name in names:
            _require(name is None or name in buffers, where, f"there is no buffer {name!r}")

    for port in (*plan.inputs, *plan.outputs):
        known(f"port {port.name!r}", port.buffer)
    for step in plan.steps:
        where = f"step {step.name!r}"
        if isinstance(step, HostStep):
            known(where, *step.inputs, *step.outputs)
            continue
        kernel = program.kernels.get(step.kernel)
        if kernel is None:
            raise DstcError(f"{where}: there is no kernel {step.kernel!r}")
        known(where, step.a_operand, step.b_operand, *(a for a in step.args if isinstance(a, str)))
        _require(len(step.args) == len(kernel.params), where,
                 f"{len(step.args)} arguments for the {len(kernel.params)} parameters of "
                 f"{step.kernel!r}")  # fmt: skip
        _require(all(0 <= a < 1 << 32 for a in step.args if isinstance(a, int)), where,
                 "an argument does not fit 32 bits")  # fmt: skip
        _require(len(step.grid) == 3 and all(0 < g < 1 << 31 for g in step.grid), where,
                 f"grid {step.grid} must be three positive sizes")  # fmt: skip


def _nm_bytes(buffer: Buffer, where: str) -> int:
    """Bytes that an n:m buffer needs."""
    assert buffer.nm is not None
    _require(buffer.dtype == "nm" and buffer.bitmap is None, where, "only an nm buffer has `nm`")
    side, pair = buffer.nm.get("side"), (buffer.nm.get("n"), buffer.nm.get("m"))
    _require(side in ("a", "b"), where, f"side must be 'a' or 'b', not {side!r}")
    _require(pair in NM_SHAPES.values(), where, f"pattern {pair[0]}:{pair[1]} is unknown")
    lines, depth = (
        s if type(s) is int and s > 0 else 0 for s in map(buffer.nm.get, ("lines", "depth"))
    )
    _require(lines > 0 and depth > 0, where, "lines and depth must be positive")
    return NmLayout(lines, depth, int(buffer.nm["n"]), int(buffer.nm["m"])).bytes


def _image_bytes(buffer: Buffer, where: str) -> int:
    """Bytes that an encoded image needs."""
    assert buffer.image is not None
    alone = buffer.dtype == "image" and buffer.bitmap is None
    _require(alone, where, "only an encoded image has `image`")
    try:
        layout = ImageLayout.of_facts(buffer.image)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DstcError(f"{where}: `image` does not describe one: {error}") from error
    _require(layout.shape == tuple(buffer.shape), where, "its shape is not that of `image`")
    return layout.bytes


def _validate_buffer(buffer: Buffer, data: dict[str, bytes]) -> None:
    where = f"buffer {buffer.name!r}"
    _require(buffer.kind in BUFFER_KINDS, where, f"kind {buffer.kind!r} is unknown")
    _require(buffer.dtype in DTYPES, where, f"dtype {buffer.dtype!r} is unknown")
    _require(all(extent >= 0 for extent in buffer.shape), where, "its shape is negative")
    if buffer.nm is not None:
        needed = _nm_bytes(buffer, where)
    elif buffer.image is not None:
        needed = _image_bytes(buffer, where)
    elif buffer.bitmap is None:
        _require(buffer.dtype in ELEMENT_BYTES, where, "a bitmap buffer needs `bitmap`")
        needed = DenseLayout.of(buffer.shape, ELEMENT_BYTES[buffer.dtype]).bytes
    else:
        _require(buffer.dtype == "bitmap", where, "only a bitmap buffer has `bitmap`")
        side, sizes = (
            buffer.bitmap.get("side"),
            [buffer.bitmap.get(k) for k in ("vectors", "depth")],
        )
        _require(side in ("a", "b"), where, f"side must be 'a' or 'b', not {side!r}")
        vectors, depth = (s if type(s) is int and s > 0 else 0 for s in sizes)
        _require(vectors > 0 and depth > 0, where, "vectors and depth must be positive")
        window = buffer.bitmap_window
        _require(window in WINDOWS, where, f"window must be 32 or 64, not {window!r}")
        needed = BitmapLayout(vectors, depth, window).values_offset
    _require(needed <= buffer.bytes < 1 << 32, where,
             f"{buffer.bytes} bytes for a layout of {needed}")  # fmt: skip
    if buffer.data is not None:
        _require(buffer.data in data, where, f"there is no data {buffer.data!r}")
        _require(len(data[buffer.data]) <= buffer.bytes, where,
                 f"{len(data[buffer.data])} bytes of data for {buffer.bytes}")  # fmt: skip

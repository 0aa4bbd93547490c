"""Elements of values, computed where they are needed: the index machinery of SIMT kernels. Not a
pass.

In: values of a group of ops, places in them. Out: the kernel's code for these elements: loads of
the group's inputs, wide where places are neighbours, and functions of them. An op that only moves
data changes the place and costs no instruction of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import Float16Type, VectorType, f32, i32
from xdsl.ir import Operation, SSAValue

from ..backend.isa.errors import DstcError
from ..dialects import dstc
from ..dialects import dstc_pointwise as pointwise
from ..dialects import dstc_tile as tile
from ..dialects.checks import int_values, shape_of
from ..dialects.dstc_pointwise import element_of, is_integer
from ..dialects.functions import FUNCTIONS
from .device_tensor import MOST_WORDS, DeviceTensor
from .kernel_builder import KernelBuilder, Value
from .lane_arithmetic import LaneArithmetic
from .places import Index, Indexer, Key, Place

Elements = list[SSAValue]
"""f32, or i32 of an integer tensor, one a place."""


@dataclass(frozen=True)
class Wanted:
    """An element that is needed where `predicate` holds (None: in all lanes); elsewhere 0."""

    place: Place
    predicate: SSAValue | None = None

    @property
    def key(self) -> Key:
        """Equal for elements that are certainly equal."""
        return (self.place.key, None if self.predicate is None else id(self.predicate))


@dataclass(frozen=True)
class _Access:
    """A load of one element: address, and by how much the base is divisible."""

    base: Value
    offset: int
    align: int
    predicate: SSAValue | None


class Pull:
    """Elements of the values of one group. `inputs`: parameters of the kernel by input value."""

    def __init__(self, b: KernelBuilder, inputs: Mapping[SSAValue, str], at: Indexer | None = None):
        self.b, self.inputs = b, inputs
        self.at = at or Indexer(b)
        self.lanes = LaneArithmetic(b)
        self.given: dict[tuple[SSAValue, Key], SSAValue] = {}
        """Elements that are known: of a row-wise op, at the places of the row."""

    def elements(
        self, value: SSAValue, wanted: Sequence[Wanted], *, root: bool = False
    ) -> Elements:
        """The elements of `value`; those of the root are not rounded, as storing does that."""
        known = [self.given.get((value, w.place.key)) for w in wanted]
        if all(k is not None for k in known):
            return [k for k in known if k is not None]
        distinct: dict[Key, Wanted] = {}
        for w in wanted:
            distinct.setdefault(w.key, w)
        if len(distinct) < len(wanted):
            found = dict(
                zip(distinct, self.elements(value, [*distinct.values()], root=root), strict=True)
            )
            return [found[w.key] for w in wanted]
        if value in self.inputs:
            return self._load(value, wanted)
        op = value.owner
        assert isinstance(op, Operation)
        handler = HANDLERS.get(type(op))
        if handler is None:
            raise DstcError(f"{op.name} has no kernel in a group of ops by element")
        made = handler(self, op, wanted)
        if isinstance(element_of(value.type), Float16Type) and not root and not _moves(op):
            made = [self._rounded(v) for v in made]
        return made

    def both(self, a: SSAValue | None, b: SSAValue | None) -> SSAValue | None:
        """The conjunction; None is true."""
        if a is None or b is None or a is b:
            return b if a is None else a
        return self.at.once("both", (a, b), lambda: self.b.insert(arith.AndIOp(a, b)))

    def below(self, index: Index, extent: int) -> SSAValue | None:
        """0 <= index < extent (the index may be negative); None if that is certain."""
        known = index.known
        if known is not None and 0 <= known < extent:
            return None
        at = self.at.value(index)
        return self.at.once("below", (at, extent), lambda: self.b.less(at, extent))

    def _rounded(self, value: SSAValue) -> SSAValue:
        half = self.b.insert(tile.PackOp(value, self.b.float(0.0)))
        return self.b.insert(tile.UnpackOp(half))

    # Loads

    def _load(self, value: SSAValue, wanted: Sequence[Wanted]) -> Elements:
        tensor = DeviceTensor.of(value.type)
        accesses = [self._access(tensor, self.inputs[value], w) for w in wanted]
        bases: dict[tuple[int, int], int] = {}
        for a in accesses:
            bases.setdefault((id(a.base), id(a.predicate)), len(bases))
        order = sorted(
            range(len(accesses)),
            key=lambda i: (
                bases[id(accesses[i].base), id(accesses[i].predicate)], accesses[i].offset,
            ),
        )  # fmt: skip
        found: dict[int, SSAValue] = {}
        while len(found) < len(order):
            rest = [accesses[i] for i in order[len(found) :]]
            run = self._run(rest, tensor.element_bytes)
            loaded = self._load_run(value, rest[0], run, tensor.element_bytes)
            found.update(zip(order[len(found) :], loaded, strict=False))
        return [found[i] for i in range(len(accesses))]

    def _access(self, tensor: DeviceTensor, param: str, wanted: Wanted) -> _Access:
        place, layout, size = wanted.place, tensor.layout, tensor.element_bytes
        if place.flat is not None and layout.pitch == layout.columns:
            at = self.at.scale(place.flat, size)
        elif place.flat is not None and place.indices is None:
            row, column = self.at.unflatten(place.flat, (layout.rows, layout.columns))
            parts = [self.at.scale(row, layout.pitch * size), self.at.scale(column, size)]
            at = self.at.sum(parts)
        else:
            pairs = zip(self.at.indices(place), tensor.strides, strict=True)
            at = self.at.sum([self.at.scale(i, s) for i, s in pairs])
        base = self.at.add(at.base, self.b.params[param])
        return _Access(base, at.offset, at.align, wanted.predicate)

    def _run(self, accesses: Sequence[_Access], size: int) -> int:
        """How many of the first accesses one load can make."""
        first, run = accesses[0], 1
        while 2 * run <= len(accesses) and 2 * run * size <= 4 * MOST_WORDS:
            width = 2 * run * size
            if math.gcd(first.align, first.offset) % width:
                break
            if not all(
                a.base is first.base
                and a.predicate is first.predicate
                and a.offset == first.offset + i * size
                for i, a in enumerate(accesses[: 2 * run])
            ):
                break
            run *= 2
        return run

    def _load_run(self, value: SSAValue, at: _Access, run: int, size: int) -> Elements:
        b = self.b
        if size == 4:
            word = i32 if is_integer(value.type) else f32
            type_ = word if run == 1 else VectorType(word, [run])
        elif run == 1:
            raw = b.load(
                tile.Space.GLOBAL, at.base, i32, offset=at.offset, bits=16, predicate=at.predicate
            )
            return [b.insert(tile.UnpackOp(raw))]
        else:
            type_ = i32 if run == 2 else VectorType(i32, [run // 2])
        loaded = b.load(tile.Space.GLOBAL, at.base, type_, offset=at.offset, predicate=at.predicate)
        words = run * size // 4
        parts = [loaded] if words == 1 else [b.extract(loaded, i) for i in range(words)]
        if size == 4:
            return parts
        halves = ((part, high) for part in parts for high in (False, True))
        return [b.insert(tile.UnpackOp(part, high=high)) for part, high in halves]


def _moves(op: Operation) -> bool:
    """Its elements are its operands' as they are, and rounded if those are."""
    return type(op) in MOVES and all(
        v.type == op.results[0].type or element_of(v.type) == element_of(op.results[0].type)
        for v in op.operands[:1]
    )


def _broadcast(pull: Pull, value: SSAValue, wanted: Sequence[Wanted]) -> list[Wanted]:
    """The places of an operand that broadcasts to the result."""
    shape = shape_of(value.type)
    found: list[Wanted] = []
    for w in wanted:
        if w.place.shape == shape:
            found.append(w)
            continue
        if math.prod(shape) == 1:
            place = Place(shape, Index.constant(0))
        elif math.prod(shape) == math.prod(w.place.shape):  # dimensions of one element more or less
            place = Place(shape, pull.at.flat(w.place))
        else:
            indices = pull.at.indices(w.place)[len(w.place.shape) - len(shape) :]
            zero = Index.constant(0)
            kept = (i if n > 1 else zero for i, n in zip(indices, shape, strict=True))
            place = Place(shape, indices=tuple(kept))
        found.append(Wanted(place, w.predicate))
    return found


def _function(pull: Pull, name: str, operands: Sequence[SSAValue], wanted: Sequence[Wanted]):
    function = FUNCTIONS[name]
    columns = [pull.elements(v, _broadcast(pull, v, wanted)) for v in operands]
    body = function.integers if is_integer(operands[-1].type) else function.floats
    assert body is not None
    return [body(pull.lanes, *values) for values in zip(*columns, strict=True)]


def _elementwise(pull: Pull, op: pointwise.ElementwiseOp, wanted: Sequence[Wanted]) -> Elements:
    return _function(pull, op.function.data, op.inputs, wanted)


def _add(pull: Pull, op: dstc.AddOp, wanted: Sequence[Wanted]) -> Elements:
    return _function(pull, "add", op.operands, wanted)


def _relu(pull: Pull, op: dstc.ReluOp, wanted: Sequence[Wanted]) -> Elements:
    return _function(pull, "relu", op.operands, wanted)


def _fill(pull: Pull, op: pointwise.FillOp, wanted: Sequence[Wanted]) -> Elements:
    value = float(op.value.value.data)
    if is_integer(op.result.type):
        return [pull.lanes.integer(int(value))] * len(wanted)
    return [pull.lanes.number(value)] * len(wanted)


def _cast(pull: Pull, op: dstc.CastOp, wanted: Sequence[Wanted]) -> Elements:
    values = pull.elements(op.x, wanted)
    before, after = is_integer(op.x.type), is_integer(op.result.type)
    if before == after:
        return values
    change = pull.lanes.to_float if before else pull.lanes.to_integer
    return [change(v) for v in values]


Move = Callable[[Pull, Operation, Place], Place]
"""(pull, op, place in the result) -> place in the operand."""


def _transposed(pull: Pull, op: dstc.TransposeOp, place: Place) -> Place:
    perm, indices = int_values(op.perm), pull.at.indices(place)
    found = tuple(indices[perm.index(d)] for d in range(len(perm)))
    return Place(shape_of(op.x.type), indices=found)


def _reshaped(pull: Pull, op: dstc.ReshapeOp, place: Place) -> Place:
    return Place(shape_of(op.x.type), pull.at.flat(place))


def _sliced(pull: Pull, op: pointwise.SliceOp, place: Place) -> Place:
    at, starts, steps = pull.at, int_values(op.starts), int_values(op.steps)
    found: list[Index] = []
    for index, start, step in zip(at.indices(place), starts, steps, strict=True):
        moved = at.shift(at.scale(index, step), start)
        backwards = step < 0 and moved.known is None
        found.append(Index(at.value(moved)) if backwards else moved)  # a base below 0 is no base
    return Place(shape_of(op.x.type), indices=tuple(found))


def _expanded(pull: Pull, op: pointwise.ExpandOp, place: Place) -> Place:
    (wanted,) = _broadcast(pull, op.x, [Wanted(place)])
    return wanted.place


MOVES: dict[type[Operation], Move] = {
    dstc.TransposeOp: _transposed,
    dstc.ReshapeOp: _reshaped,
    pointwise.SliceOp: _sliced,
    pointwise.ExpandOp: _expanded,
}  # pyright: ignore[reportAssignmentType]
"""Ops whose elements are their operand's, at other places."""


def _move(pull: Pull, op: Operation, wanted: Sequence[Wanted]) -> Elements:
    move = MOVES[type(op)]
    places = [Wanted(move(pull, op, w.place), w.predicate) for w in wanted]
    return pull.elements(op.operands[0], places)


def _pad(pull: Pull, op: pointwise.PadOp, wanted: Sequence[Wanted]) -> Elements:
    at, low, shape = pull.at, int_values(op.low), shape_of(op.x.type)
    places: list[Wanted] = []
    insides: list[SSAValue | None] = []
    for w in wanted:
        indices = tuple(at.shift(i, -b) for i, b in zip(at.indices(w.place), low, strict=True))
        inside: SSAValue | None = None
        for index, extent, room in zip(indices, shape, w.place.shape, strict=True):
            if room != extent:
                inside = pull.both(inside, pull.below(index, extent))
        insides.append(inside)
        places.append(Wanted(Place(shape, indices=indices), pull.both(w.predicate, inside)))
    value = float(op.value.value.data)
    whole = is_integer(op.x.type)
    outside = pull.lanes.integer(int(value)) if whole else pull.lanes.number(value)
    found = pull.elements(op.x, places)
    pairs = zip(insides, found, strict=True)
    return [v if p is None else pull.lanes.select(p, v, outside) for p, v in pairs]


def _concat(pull: Pull, op: pointwise.ConcatOp, wanted: Sequence[Wanted]) -> Elements:
    """From the last part to the first: what is not in a part comes from those behind it."""
    axis = op.axis.value.data
    ends: list[int] = []
    for value in op.inputs:
        ends.append((ends[-1] if ends else 0) + shape_of(value.type)[axis])
    found: list[SSAValue | None] = [None] * len(wanted)
    for part in reversed(range(len(op.inputs))):
        value = op.inputs[part]
        start, extent = ends[part] - shape_of(value.type)[axis], shape_of(value.type)[axis]
        places: list[Wanted] = []
        insides: list[SSAValue | None] = []
        numbers: list[int] = []
        for i, w in enumerate(wanted):
            indices = list(pull.at.indices(w.place))
            indices[axis] = pull.at.shift(indices[axis], -start)
            known = indices[axis].known
            if known is not None and not 0 <= known < extent:
                continue
            inside = pull.below(indices[axis], extent)
            place = Place(shape_of(value.type), indices=tuple(indices))
            numbers.append(i)
            insides.append(inside)
            places.append(Wanted(place, pull.both(w.predicate, inside)))
        if not places:
            continue
        loaded = pull.elements(value, places)
        for i, inside, new in zip(numbers, insides, loaded, strict=True):
            old = found[i]
            joined = new if old is None or inside is None else pull.lanes.select(inside, new, old)
            found[i] = joined
    return [v for v in found if v is not None]


def _gather(pull: Pull, op: pointwise.GatherOp, wanted: Sequence[Wanted]) -> Elements:
    b, axis = pull.b, op.axis.value.data
    shape, chosen = shape_of(op.x.type), shape_of(op.indices.type)
    extent = shape[axis]
    split = [pull.at.indices(w.place) for w in wanted]
    rank = len(chosen)
    asked = [
        Wanted(Place(chosen, indices=i[axis : axis + rank]), w.predicate)
        for i, w in zip(split, wanted, strict=True)
    ]
    places: list[Wanted] = []
    for number, indices, w in zip(pull.elements(op.indices, asked), split, wanted, strict=True):

        def wrapped(number: SSAValue = number) -> SSAValue:
            at = b.select(b.compare("slt", number, 0), b.add(number, extent), number)
            low = b.insert(arith.MaxSIOp(at, b.value(0)))
            return b.insert(arith.MinSIOp(low, b.value(extent - 1)))

        at = Index(pull.at.once("gathered", (number, extent), wrapped))
        found = (*indices[:axis], at, *indices[axis + rank :])
        places.append(Wanted(Place(shape, indices=found), w.predicate))
    return pull.elements(op.x, places)


def _pool(pull: Pull, op: dstc.Pool2dOp, wanted: Sequence[Wanted]) -> Elements:
    """Taps in (r, s) order: the largest number, or the sum times 1 / count."""
    b, lanes, at, shape = pull.b, pull.lanes, pull.at, shape_of(op.x.type)
    kernel, strides, pads, dilations = op.window
    maximum = op.kind.data == dstc.PoolKind.MAX
    include = op.count_include_pad is not None and bool(op.count_include_pad.value.data)
    at_once = max(1, _TAPS // (kernel[0] * kernel[1]))
    if len(wanted) > at_once:  # what is loaded together lies in registers together
        chunks = [wanted[i : i + at_once] for i in range(0, len(wanted), at_once)]
        return [value for chunk in chunks for value in _pool(pull, op, chunk)]
    asked: list[Wanted] = []
    valids: list[SSAValue | None] = []
    counted: list[tuple[list[Index], list[list[SSAValue | None]]]] = []
    for w in wanted:
        n, c, *out = at.indices(w.place)
        starts = [at.shift(at.scale(i, s), -p) for i, s, p in zip(out, strides, pads, strict=False)]
        taps: list[list[Index]] = [
            [at.shift(starts[d], k * dilations[d]) for k in range(kernel[d])] for d in (0, 1)
        ]
        inside = [
            [
                None if _certain(op, d, k) else pull.below(i, shape[2 + d])
                for k, i in enumerate(line)
            ]
            for d, line in enumerate(taps)
        ]
        counted.append((starts, inside))
        for r, h in enumerate(taps[0]):
            for s, v in enumerate(taps[1]):
                valids.append(pull.both(inside[0][r], inside[1][s]))
                place = Place(shape, indices=(n, c, h, v))
                asked.append(Wanted(place, pull.both(w.predicate, valids[-1])))
    found: Elements = []
    for i in range(0, len(asked), _TAPS):
        found += pull.elements(op.x, asked[i : i + _TAPS])
    results: Elements = []
    of_window = kernel[0] * kernel[1]
    for i, (starts, inside) in enumerate(counted):
        acc = lanes.number(-math.inf if maximum else 0.0)
        for j in range(i * of_window, (i + 1) * of_window):
            tap, valid = found[j], valids[j]
            if valid is not None:
                tap = lanes.select(valid, tap, lanes.number(-math.inf if maximum else 0.0))
            acc = b.insert(arith.MaxnumfOp(acc, tap)) if maximum else lanes.add(acc, tap)
        if not maximum:
            acc = lanes.mul(acc, _inverse_count(pull, op, starts, inside, include))
        results.append(acc)
    return results


_TAPS = 64
"""Elements of windows that are loaded together: of neighbours they are neighbours."""


def _certain(op: dstc.Pool2dOp, d: int, tap: int) -> bool:
    """The tap is in the image for every output."""
    _, strides, pads, dilations = op.window
    first = tap * dilations[d] - pads[d]
    last = (shape_of(op.result.type)[2 + d] - 1) * strides[d] + first
    return first >= 0 and last < shape_of(op.x.type)[2 + d]


def _inverse_count(
    pull: Pull,
    op: dstc.Pool2dOp,
    starts: Sequence[Index],
    inside: Sequence[Sequence[SSAValue | None]],
    include: bool,
) -> SSAValue:
    """1 / count of what an average counts: taps in the image, with `include` in its padding too."""
    b, lanes = pull.b, pull.lanes
    kernel, _, pads, dilations = op.window
    counts: list[Value] = []
    for d in (0, 1):
        size = shape_of(op.x.type)[2 + d]
        count: Value = 0
        for k in range(kernel[d]):
            counted = inside[d][k]
            if include:  # what lies behind the padding never counts
                at = pull.at.shift(starts[d], k * dilations[d] + pads[d])
                counted = (
                    None if _in_padding(op, d, k) else pull.below(at, size + pads[d] + pads[d + 2])
                )
            count = b.add(count, 1 if counted is None else b.select(counted, 1, 0))
        counts.append(count)
    total = (
        b.mul(counts[0], counts[1])
        if isinstance(counts[1], int)
        else (
            b.mul(counts[1], counts[0])
            if isinstance(counts[0], int)
            else b.mul(counts[0], counts[1])
        )
    )
    if isinstance(total, int):
        return lanes.number(1 / total)
    return lanes.special("rcp", lanes.to_float(total))


def _in_padding(op: dstc.Pool2dOp, d: int, tap: int) -> bool:
    """The tap is in the image or its padding for every output."""
    _, strides, pads, dilations = op.window
    last = (shape_of(op.result.type)[2 + d] - 1) * strides[d] + tap * dilations[d]
    return last < shape_of(op.x.type)[2 + d] + pads[d] + pads[d + 2]


Handler = Callable[[Pull, Operation, Sequence[Wanted]], Elements]

HANDLERS: dict[type[Operation], Handler] = {
    pointwise.ElementwiseOp: _elementwise,
    dstc.AddOp: _add,
    dstc.ReluOp: _relu,
    dstc.CastOp: _cast,
    pointwise.FillOp: _fill,
    pointwise.PadOp: _pad,
    pointwise.ConcatOp: _concat,
    pointwise.GatherOp: _gather,
    dstc.Pool2dOp: _pool,
    **dict.fromkeys(MOVES, _move),
}  # pyright: ignore[reportAssignmentType]
"""Ops whose elements can be computed one by one, and how."""

"""linalg on tensors as ONNX operators: products, convolutions, poolings, sums, all by element.

In: a `Structured` operation and its operands. Out: `Value`s of its results. What a body computes
decides, not what the operation is called, so that a generic operation is as good as a named one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr
from xdsl.dialects.linalg.ops import YieldOp
from xdsl.ir import Block, Operation, SSAValue

from ...backend.isa.errors import DstcError
from .mlir_emit import FLOAT, INTEGER, TRUTH, Emit, Value, filled, known, number
from .mlir_reader import Structured
from .mlir_scalar import NAMED, predicate, scalar
from .mlir_structured import Map, Nest, Place, is_named, letters, nest

LARGEST = 1 << 26
"""Elements of an iteration that is written out before it is summed."""
_LOWEST = -65504.0
"""Padding below this never wins a maximum of f16 values."""

Known = Mapping[SSAValue, Value]
"""Values computed so far."""


def structured(e: Emit, op: Structured, values: Known) -> list[Value]:
    """The results of `op`."""
    name = op.name.removeprefix("linalg.")
    ins, outs = [values[v] for v in op.ins], [values[v] for v in op.outs]
    if name == "fill":
        shape = outs[0].shape
        if ins[0].array is not None:
            return [filled(ins[0], shape)]
        return [e.expand(e.reshape(ins[0], (1,) * len(shape)), shape)]
    if name == "transpose":
        return [e.transpose(ins[0], _ints(op, "permutation"))]
    if name == "broadcast":
        new = set(_ints(op, "dimensions"))
        shape = [1 if d in new else n for d, n in enumerate(outs[0].shape)]
        return [e.expand(e.reshape(ins[0], shape), outs[0].shape)]
    if name == "softmax":
        return [_softmax(e, op, ins[0])]
    if op.name in NAMED and op.given("indexing_maps") is None:
        value = scalar(e, op, ins, NAMED[op.name])
        return [e.expand(value, outs[0].shape)]
    if name in ("map", "reduce"):
        return _by_region(e, op, ins, outs, values)
    if name == "generic" or is_named(op):
        shapes = [v.shape for v in (*ins, *outs)]
        body = op.body[0].block if name == "generic" else None
        return _run(e, nest(op, shapes), body, name, ins, outs, values)
    raise DstcError(f"{op.name} is not supported")


def _ints(op: Structured, name: str) -> tuple[int, ...]:
    given = op.given(name)
    if not isinstance(given, DenseArrayBase):
        raise DstcError(f"{op.name} has no {name}")
    return tuple(int(v) for v in cast("DenseArrayBase[Any]", given).iter_values())


def _softmax(e: Emit, op: Structured, x: Value) -> Value:
    axis = op.given("dimension")
    assert isinstance(axis, IntegerAttr)
    return e.node("Softmax", [x], x.shape, axis=int(cast("IntegerAttr[Any]", axis).value.data))


def _by_region(
    e: Emit, op: Structured, ins: list[Value], outs: list[Value], values: Known
) -> list[Value]:
    """linalg.map and linalg.reduce, whose body may be the name of one operation."""
    rank = len(ins[0].shape) if ins else len(outs[0].shape)
    identity = tuple(Place(((d, 1),)) for d in range(rank))
    short = next((k for k in op.attributes if k.startswith(("arith.", "math."))), None)
    if op.name == "linalg.map":
        if short is not None:
            return [e.expand(scalar(e, op, ins, short), outs[0].shape)]
        maps, summed = (identity,) * (len(ins) + len(outs)), frozenset[int]()
    else:
        summed = frozenset(_ints(op, "dimensions"))
        kept = tuple(p for d, p in enumerate(identity) if d not in summed)
        maps = (identity,) * len(ins) + (kept,) * len(outs)
    extents = ins[0].shape if ins else outs[0].shape
    nest_ = Nest(maps, extents, summed)
    if short is not None:
        return [_reduced(e, nest_, short, ins[0], outs[0])]
    return _run(e, nest_, op.body[0].block, "generic", ins, outs, values)


# One iteration


def _run(
    e: Emit, n: Nest, body: Block | None, name: str, ins: list[Value], outs: list[Value],
    values: Known,
) -> list[Value]:  # fmt: skip
    if body is None:
        kind = next((k for k in ("max", "min", "sum") if name.endswith(f"_{k}")), "")
        if kind:
            return [_pooled(e, n, kind.capitalize(), ins[0], n.maps[0], outs[0], n.maps[-1])]
        return [_contracted(e, n, ins, n.maps[:2], outs[0], n.maps[-1])]
    if not n.summed:
        return _elementwise(e, n, body, ins, outs, values)
    end, parent = body.last_op, body.parent_op()
    assert isinstance(end, YieldOp) and parent is not None
    run = _Body(e, n, body, ins, outs, values)
    return [
        run.summed(i, given) if parent.results[i].uses else outs[i]
        for i, given in enumerate(end.operands)
    ]


def _elementwise(
    e: Emit, n: Nest, body: Block, ins: list[Value], outs: list[Value], values: Known
) -> list[Value]:
    run = _Body(e, n, body, ins, outs, values)
    end = body.last_op
    assert isinstance(end, YieldOp)
    maps = n.maps[len(ins) :]
    return [
        written(e, n, run.value(v), m, out.shape)
        for v, m, out in zip(end.operands, maps, outs, strict=True)
    ]


def read(e: Emit, n: Nest, value: Value, map_: Map) -> Value:
    """An operand along the dimensions of the iteration; 1 where it does not depend on one."""
    if all(p.dim is not None for p in map_):
        value = e.narrow(value)
    dims: list[int] = []
    starts: list[int] = []
    counts: list[int] = []
    steps: list[int] = []
    for place, size in zip(map_, value.shape, strict=True):
        if len(place.terms) > 1:
            raise DstcError("an operand that is indexed by a sum is supported in windows only")
        dim, step = place.terms[0] if place.terms else (-1, 1)
        dims.append(dim)
        starts.append(place.offset)
        counts.append(1 if dim < 0 or (size == 1 and place.dim is not None) else n.extents[dim])
        steps.append(step)
    value = e.slice(value, starts, counts, steps)
    kept = [i for i, d in enumerate(dims) if d >= 0]
    value = e.reshape(value, [value.shape[i] for i in kept])
    own = [dims[i] for i in kept]
    if len(set(own)) != len(own):
        raise DstcError("a diagonal (a dimension twice in one operand) is not supported")
    value = e.transpose(value, sorted(range(len(own)), key=own.__getitem__))
    shape = [1] * len(n.extents)
    for dim, size in zip(sorted(own), value.shape, strict=True):
        shape[dim] = size
    return e.reshape(value, shape)


def written(e: Emit, n: Nest, value: Value, map_: Map, shape: Sequence[int]) -> Value:
    """A value along the dimensions of the iteration as a result, which `map_` indexes."""
    own = [p.dim for p in map_ if p.terms]
    if None in own or len(set(own)) != len(own) or any(p.offset for p in map_):
        raise DstcError("a result must be indexed by dimensions of the iteration as they are")
    dims = cast("list[int]", own)
    left = [d for d in range(len(n.extents)) if d not in dims]
    rank = len(n.extents)
    value = e.reshape(value, (*[1] * (rank - len(value.shape)), *value.shape))
    if any(value.shape[d] > 1 for d in left):
        raise DstcError("several values for one element of the result")
    value = e.expand(value, [1 if d in left else n.extents[d] for d in range(rank)])
    return e.reshape(e.transpose(value, [*left, *dims]), shape)


class _Body:
    """Evaluates a body for all of an iteration at once."""

    def __init__(
        self, e: Emit, n: Nest, body: Block, ins: list[Value], outs: list[Value], values: Known
    ):
        self.e, self.n, self.body, self.ins, self.outs = e, n, body, ins, outs
        self.outer = values
        self.found: dict[SSAValue, Value] = {}

    def value(self, v: SSAValue) -> Value:
        """What `v` is."""
        if v not in self.found:
            self.found[v] = self._value(v)
        return self.found[v]

    def _value(self, v: SSAValue) -> Value:
        owner = v.owner
        if isinstance(owner, Block):
            if owner is not self.body:
                return self.outer[v]
            at = self.body.args.index(v)
            return read(self.e, self.n, [*self.ins, *self.outs][at], self.n.maps[at])
        if owner.parent is not self.body:
            return self.outer[v]
        if owner.name == "linalg.index":
            return self.index(int(cast("Any", owner).dim.value.data))
        if owner.name == "arith.constant":
            return self.outer[v]
        if owner.name == "tensor.extract":
            return self.extracted(owner)
        return scalar(self.e, owner, [self.value(x) for x in owner.operands])

    def index(self, dim: int) -> Value:
        """0, 1, 2 ... along a dimension."""
        size = self.n.extents[dim]
        shape = [size if d == dim else 1 for d in range(len(self.n.extents))]
        return known(np.arange(size, dtype=np.int64).reshape(shape))

    def extracted(self, op: Operation) -> Value:
        """Elements of another tensor, at indices of which at most one depends on values."""
        e, rank = self.e, len(self.n.extents)
        table, at = self.outer[op.operands[0]], [self.value(x) for x in op.operands[1:]]
        data = [i for i, v in enumerate(at) if v.array is None]
        if len(data) > 1:
            raise DstcError("tensor.extract at several computed indices is not supported")
        gathered: list[int] = []
        dims: list[int] = []
        for i, v in enumerate(at):
            if i in data:
                v = e.reshape(v, (*[1] * (rank - len(v.shape)), *v.shape))
                gathered = [d for d, n in enumerate(v.shape) if n > 1]
                index = e.reshape(v, [v.shape[d] for d in gathered])
                before = table.shape[:i], table.shape[i + 1 :]
                shape = (*before[0], *index.shape, *before[1])
                table = e.node("Gather", [table, index], shape, table.dtype, axis=i)
                dims += gathered
                continue
            along = [d for d, n in enumerate(v.shape) if n > 1]
            place = len(dims)
            if not along:
                start = v.number
                assert start is not None
                starts = [int(start) if d == place else 0 for d in range(len(table.shape))]
                counts = [1 if d == place else n for d, n in enumerate(table.shape)]
                table = e.slice(table, starts, counts, [1] * len(counts))
                dims.append(-1)
                continue
            assert v.array is not None
            if len(along) > 1 or not np.array_equal(
                v.array.reshape(-1), np.arange(table.shape[place])
            ):
                raise DstcError("tensor.extract at computed places is not supported")
            dims.append(along[0])
        kept = [i for i, d in enumerate(dims) if d >= 0]
        table = e.reshape(table, [table.shape[i] for i in kept])
        own = [dims[i] for i in kept]
        if len(set(own)) != len(own):
            raise DstcError("tensor.extract of a diagonal is not supported")
        table = e.transpose(table, sorted(range(len(own)), key=own.__getitem__))
        wide = [1] * rank
        for d, size in zip(sorted(own), table.shape, strict=True):
            wide[d] = size
        return e.reshape(table, wide)

    # Sums

    def summed(self, i: int, given: SSAValue) -> Value:
        """Result i of a reduction, whose body yields `given` for it."""
        e, n = self.e, self.n
        argument = self.body.args[len(self.ins) + i]
        out, map_ = self.outs[i], n.maps[len(self.ins) + i]
        found = _combined(given, argument)
        if found is None:
            where = self._place_of_extreme(i, given)
            if where is not None:
                return where
            raise DstcError("a reduction must add, multiply, or take the larger or smaller value")
        name, rest = found
        if name == "arith.addf" and (factors := self._factors(rest)) is not None:
            values, maps = zip(*factors, strict=True)
            return _contracted(e, n, values, maps, out, map_)
        kind = KINDS[name]
        plain = self._argument(rest)
        if plain is not None and any(len(p.terms) > 1 for p in n.maps[plain]):
            return _pooled(e, n, kind, self.ins[plain], n.maps[plain], out, map_)
        value = self.value(rest)
        if math.prod(n.extents) > LARGEST:
            raise DstcError(f"a sum over {math.prod(n.extents)} values by element is too large")
        return _reduced(e, n, name, value, out, map_)

    def _argument(self, v: SSAValue) -> int | None:
        """The operand that `v` is, as it is or as another float type."""
        while not isinstance(v.owner, Block) and v.owner.name in ("arith.extf", "arith.truncf"):
            v = v.owner.operands[0]
        return self.body.args.index(v) if v in self.body.args[: len(self.ins)] else None

    def _factors(self, v: SSAValue) -> list[tuple[Value, Map]] | None:
        """The two different operands whose product `v` is."""
        while not isinstance(v.owner, Block) and v.owner.name == "arith.extf":
            v = v.owner.operands[0]
        if isinstance(v.owner, Block) or v.owner.name != "arith.mulf":
            return None
        at = [self._argument(x) for x in v.owner.operands]
        if None in at or at[0] == at[1]:
            return None
        chosen = cast("list[int]", at)
        if letters(self.n.maps[chosen[1]]) is None and letters(self.n.maps[chosen[0]]) is not None:
            chosen.reverse()
        return [(self.ins[a], self.n.maps[a]) for a in chosen]

    def _place_of_extreme(self, i: int, given: SSAValue) -> Value | None:
        """Where the largest (smallest) element is: select(x > largest, index, place)."""
        e, n = self.e, self.n
        select = given.owner
        if isinstance(select, Block) or select.name != "arith.select" or len(n.summed) != 1:
            return None
        condition, index, old = select.operands
        compare = condition.owner
        if old is not self.body.args[len(self.ins) + i] or isinstance(compare, Block):
            return None
        if compare.name not in ("arith.cmpf", "arith.cmpi"):
            return None
        (dim,) = n.summed
        value = self.value(compare.operands[0])
        counted = self.value(index)
        plain = counted.array is not None and np.array_equal(
            counted.array,
            self.index(dim).array,  # pyright: ignore[reportArgumentType]
        )
        if not plain or predicate(compare) not in ("gt", "lt"):
            return None
        op = "ArgMax" if predicate(compare) == "gt" else "ArgMin"
        shape = [1 if d == dim else s for d, s in enumerate(value.shape)]
        found = e.node(op, [value], shape, INTEGER, axis=dim, keepdims=1)
        return written(e, n, found, n.maps[len(self.ins) + i], self.outs[i].shape)


KINDS = {
    "arith.addf": "Sum", "arith.addi": "Sum", "arith.mulf": "Prod", "arith.muli": "Prod",
    "arith.maximumf": "Max", "arith.maxnumf": "Max", "arith.maxsi": "Max",
    "arith.minimumf": "Min", "arith.minnumf": "Min", "arith.minsi": "Min",
    "arith.ori": "Max", "arith.andi": "Min",
}  # fmt: skip
"""What a reduction combines with, and what ONNX calls the reduction."""
_NEUTRAL: dict[str, Callable[[float], bool]] = {
    "Sum": (0.0).__eq__, "Prod": (1.0).__eq__, "Max": _LOWEST.__ge__, "Min": (-_LOWEST).__le__,
}  # fmt: skip
"""Whether a reduction that begins at a number is as one that begins at nothing."""
_JOIN = {
    "Sum": "arith.addf",
    "Prod": "arith.mulf",
    "Max": "arith.maximumf",
    "Min": "arith.minimumf",
}


def _combined(given: SSAValue, argument: SSAValue) -> tuple[str, SSAValue] | None:
    """(operation, the rest) if `given` combines `argument` with the rest."""
    op = given.owner
    if isinstance(op, Block):
        return None
    if op.name == "arith.select":
        compare = op.operands[0].owner
        if isinstance(compare, Block) or compare.name not in ("arith.cmpf", "arith.cmpi"):
            return None
        a, b = op.operands[1:]
        x, y = compare.operands
        if {a, b} != {x, y} or argument not in (a, b):
            return None
        way = predicate(compare)[:1]
        larger = (way == "g") == (x is a)
        return ("arith.maximumf" if larger else "arith.minimumf"), b if a is argument else a
    if op.name not in KINDS or argument not in op.operands:
        return None
    a, b = op.operands
    return (op.name, b if a is argument else a) if a is not b else None


def _reduced(
    e: Emit, n: Nest, name: str, value: Value, out: Value, map_: Map | None = None
) -> Value:
    """Combined over the summed dimensions, then with what the result begins as."""
    kind, truth = KINDS[name], value.dtype == TRUTH
    value = e.cast(value, INTEGER) if truth else value
    rank = len(n.extents)
    value = e.reshape(value, (*[1] * (rank - len(value.shape)), *value.shape))
    wide = [n.extents[d] if d in n.summed else s for d, s in enumerate(value.shape)]
    value = e.reduce(kind, e.expand(value, wide), sorted(n.summed))
    value = e.cast(value, TRUTH) if truth else value
    return _begun(e, kind, written(e, n, value, map_ or n.maps[-1], out.shape), out)


def _begun(e: Emit, kind: str, value: Value, out: Value) -> Value:
    """With what the result begins as, unless that changes nothing."""
    begin = out.number
    if begin is not None and (_NEUTRAL[kind](begin) or out.dtype == TRUTH):
        return value
    joined = scalar(e, cast("Any", None), [value, e.narrow(out)], _JOIN[kind])
    return e.expand(joined, out.shape)


# Windows


def _pooled(e: Emit, n: Nest, kind: str, x: Value, map_: Map, out: Value, out_map: Map) -> Value:
    """Maximum, minimum or sum over windows."""
    slid = [i for i, p in enumerate(map_) if len(p.terms) > 1]
    rest = [i for i in range(len(map_)) if i not in slid]
    own = [map_[i].dim for i in rest]
    windows = [_window(n, map_[i]) for i in slid]
    if None in own or any(d in n.summed for d in own) or not 1 <= len(slid) <= 2:
        raise DstcError("a window over dimensions that are not one behind the other")
    base, pads = _unpadded(e, x, slid, kind)
    moved = e.transpose(base, [*rest, *slid])
    outer = moved.shape[: len(rest)]
    lead = outer if len(outer) == 2 else (1, math.prod(outer))
    moved = e.reshape(moved, (*lead, *moved.shape[len(rest) :]))
    moved = _cropped(e, moved, windows, pads)
    sign = scalar(e, cast("Any", None), [moved], "arith.negf") if kind == "Min" else moved
    size = tuple(w[0] for w in windows)
    attrs: dict[str, Any] = {
        "kernel_shape": tuple(w[1] for w in windows), "strides": tuple(w[2] for w in windows),
        "dilations": tuple(w[3] for w in windows), "pads": pads,
    }  # fmt: skip
    shape = (*lead, *size)
    if kind == "Sum":
        mean = e.node("AveragePool", [sign], shape, count_include_pad=1, **attrs)
        count = float(math.prod(w[1] for w in windows))
        value = e.apply("Mul", np.multiply, [mean, number(count)], FLOAT)
    elif kind in ("Max", "Min"):
        value = e.node("MaxPool", [sign], shape, **attrs)
        value = scalar(e, cast("Any", None), [value], "arith.negf") if kind == "Min" else value
    else:
        raise DstcError("products over windows are not supported")
    value = e.reshape(value, (*outer, *size))
    made = [*own, *(_outer(n, map_[i]) for i in slid)]
    wanted = [p.dim for p in out_map]
    return _begun(e, kind, e.transpose(value, [made.index(d) for d in wanted]), out)


def _outer(n: Nest, place: Place) -> int:
    return next(d for d, _ in place.terms if d not in n.summed)


def _window(n: Nest, place: Place) -> tuple[int, int, int, int]:
    """(windows, elements of one, stride, dilation) of `o * stride + w * dilation`."""
    terms = dict(place.terms)
    outer = [d for d in terms if d not in n.summed]
    inner = [d for d in terms if d in n.summed]
    if len(outer) != 1 or len(inner) != 1 or place.offset or min(terms.values()) < 1:
        raise DstcError("an index is no window: stride times a dimension plus dilation times one")
    o, w = outer[0], inner[0]
    return n.extents[o], n.extents[w], terms[o], terms[w]


def _unpadded(e: Emit, x: Value, slid: Sequence[int], kind: str) -> tuple[Value, tuple[int, ...]]:
    """`x` without the padding around windowed dimensions that the window can do itself."""
    none = (0,) * (2 * len(slid))
    made = x.by("Pad")
    if made is None:
        return x, none
    source, widths, fill = made.inputs
    sizes, value = widths.array, fill.number
    assert sizes is not None and value is not None
    rank = len(x.shape)
    others = [d for d in range(rank) if d not in slid]
    if any(sizes[d] or sizes[d + rank] for d in others):
        return x, none
    if value != 0 if kind == "Sum" else not _NEUTRAL[kind](value):
        return x, none
    return source, tuple(int(sizes[d + side]) for side in (0, rank) for d in slid)


def _cropped(
    e: Emit, x: Value, windows: Sequence[tuple[int, int, int, int]], pads: Sequence[int]
) -> Value:
    """Without elements that a further window would begin at."""
    lead, count = len(x.shape) - len(windows), len(windows)
    counts = list(x.shape)
    for i, (out, size, stride, dilation) in enumerate(windows):
        reach = (out - 1) * stride + (size - 1) * dilation + 1
        have = x.shape[lead + i] + pads[i] + pads[i + count]
        if have < reach:
            raise DstcError(f"windows reach {reach} elements, but there are {have}")
        if have - reach >= stride:
            if pads[i + count]:
                raise DstcError("fewer windows than fit a padded input are not supported")
            counts[lead + i] = reach - pads[i]
    return e.slice(x, [0] * len(counts), counts, [1] * len(counts))


# Products


def _contracted(
    e: Emit, n: Nest, values: Sequence[Value], maps: Sequence[Map], out: Value, out_map: Map
) -> Value:
    """Sums of products of two operands."""
    if any(len(p.terms) > 1 for m in maps for p in m):
        value = _convolved(e, n, values, maps, out_map)
    else:
        value = _product(e, n, values, maps, out, out_map)
    return _begun(e, "Sum", value, out)


def _product(
    e: Emit, n: Nest, values: Sequence[Value], maps: Sequence[Map], out: Value, out_map: Map
) -> Value:
    sides: list[tuple[Value, tuple[int, ...]]] = []
    for value, map_ in zip(values, maps, strict=True):
        dims = letters(map_)
        if dims is None:  # numbers among the indices: read as by element
            wide = read(e, n, value, map_)
            dims = tuple(d for d, s in enumerate(wide.shape) if s > 1)
            value = e.reshape(wide, [wide.shape[d] for d in dims])
        value = e.narrow(value)
        kept = [i for i, d in enumerate(dims) if value.shape[i] > 1 or n.extents[d] == 1]
        sides.append(
            (e.reshape(value, [value.shape[i] for i in kept]), tuple(dims[i] for i in kept))
        )
    (lhs, a), (rhs, b) = sides
    result = [p.dim for p in out_map if p.terms]
    if None in result or any(p.offset for p in out_map):
        raise DstcError("a result must be indexed by dimensions of the iteration as they are")
    wanted = cast("list[int]", result)
    for d in n.summed:  # along which neither depends on it, the sum is a factor
        if d not in a and d not in b:
            lhs = e.apply("Mul", np.multiply, [lhs, number(float(n.extents[d]))], FLOAT)
    made = _matmul(e, n, lhs, a, rhs, b, wanted)
    return e.expand(e.reshape(made, out.shape), out.shape)


def _matmul(
    e: Emit, n: Nest, lhs: Value, a: tuple[int, ...], rhs: Value, b: tuple[int, ...],
    wanted: list[int],
) -> Value:  # fmt: skip
    """One MatMul where operands stand as it wants them, or constants can; else an Einsum."""
    missing = [d for d in wanted if d not in a and d not in b]
    if missing:
        full = [d for d in wanted if d not in missing]
        value = _matmul(e, n, lhs, a, rhs, b, full)
        value = e.reshape(value, [n.extents[d] if d in full else 1 for d in wanted])
        return e.expand(value, [n.extents[d] for d in wanted])
    shape = [n.extents[d] for d in wanted]
    shared = [d for d in a if d in b]
    batch = [d for d in shared if d in wanted]
    sums = [d for d in shared if d not in wanted]
    rows = [d for d in a if d not in shared]
    columns = [d for d in b if d not in shared]
    simple = len(sums) == 1 and len(columns) == 1 and all(d in wanted for d in (*rows, *columns))
    if simple and wanted == [*batch, *rows, *columns] and len(rows) == 1:
        left, right = (*batch, *rows, *sums), (*batch, *sums, *columns)
        if a == left and (b == right or rhs.array is not None):
            rhs = e.transpose(rhs, [b.index(d) for d in right])
            return e.node("MatMul", [lhs, rhs], shape)
    plain = simple and not batch and a == (*rows, *sums) and wanted == [*rows, *columns]
    if plain and (b == (*sums, *columns) or rhs.array is not None):
        rhs = e.transpose(rhs, [b.index(d) for d in (*sums, *columns)])
        return e.node("MatMul", [lhs, rhs], shape)
    names = {d: chr(ord("a") + i) for i, d in enumerate(dict.fromkeys((*a, *b)))}
    text = ["".join(names[d] for d in dims) for dims in (a, b, wanted)]
    return e.node("Einsum", [lhs, rhs], shape, equation=f"{text[0]},{text[1]}->{text[2]}")


def _convolved(
    e: Emit, n: Nest, values: Sequence[Value], maps: Sequence[Map], out_map: Map
) -> Value:
    """A convolution: the first operand is indexed by windows, the second is the filter."""
    (x, w), (xm, wm) = values, maps
    slid = [i for i, p in enumerate(xm) if len(p.terms) > 1]
    inner = [next((d for d, _ in xm[i].terms if d in n.summed), -1) for i in slid]
    filter_, wanted = letters(wm), [p.dim for p in out_map]
    rest = [i for i in range(len(xm)) if i not in slid]
    own = {xm[i].dim: i for i in rest}
    if filter_ is None or None in wanted or None in own or not set(inner) <= set(filter_):
        raise DstcError("a product over windows that is no convolution")
    windows = [_window(n, xm[i]) for i in slid]
    image = [d for d in own if d in wanted and d not in filter_]
    groups = [d for d in own if d in wanted and d in filter_]
    channels = [d for d in own if d in n.summed and d in filter_]
    filters = [d for d in filter_ if d in wanted and d not in own]
    used = {*image, *groups, *channels}
    if used != set(own) or {*groups, *channels, *filters, *inner} != set(filter_):
        raise DstcError("a product over windows that is no convolution")
    base, pads = _unpadded(e, x, slid, "Sum")

    def size(dims: Sequence[int | None]) -> int:
        return math.prod(n.extents[d] for d in dims if d is not None)

    order = [own[d] for d in (*image, *groups, *channels)]
    moved = e.transpose(base, [*order, *slid])
    moved = e.reshape(
        moved, (size(image), size(groups) * size(channels), *moved.shape[len(order) :])
    )
    moved = _cropped(e, moved, windows, pads)
    arranged = [*groups, *filters, *channels, *inner]
    w = e.transpose(w, [filter_.index(d) for d in arranged])
    shape = (size(groups) * size(filters), size(channels), *(win[1] for win in windows))
    w = e.reshape(w, shape)
    outer = [_outer(n, xm[i]) for i in slid]
    value = e.node(
        "Conv", [moved, w], (size(image), shape[0], *(win[0] for win in windows)),
        strides=tuple(win[2] for win in windows), dilations=tuple(win[3] for win in windows),
        pads=pads, group=size(groups),
    )  # fmt: skip
    made = [*image, *groups, *filters, *outer]
    value = e.reshape(value, [size([d]) for d in made])
    return e.transpose(value, [made.index(d) for d in wanted])

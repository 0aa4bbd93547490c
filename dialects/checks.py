"""What verifiers share: conditions with messages, shapes as text, integer arrays.

In: types and attributes. Out: plain numbers, or a `VerifyException`.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, DenseArrayBase, TensorType, i64
from xdsl.ir import Attribute
from xdsl.irdl import base
from xdsl.utils.exceptions import VerifyException

TENSOR = base(TensorType)


def expect(condition: bool, message: str) -> None:
    """Raise `VerifyException` unless the condition holds."""
    if not condition:
        raise VerifyException(message)


def dims(shape: Sequence[int]) -> str:
    """`2x3x4`."""
    return "x".join(str(d) for d in shape)


def ints(values: Sequence[int]) -> DenseArrayBase[I64]:
    """`array<i64: ...>`."""
    return DenseArrayBase.from_list(i64, list(values))


def int_values(attr: DenseArrayBase[I64]) -> tuple[int, ...]:
    """The integers of an `array<i64: ...>`."""
    return tuple(int(v) for v in attr.iter_values())


def shape_of(type_: Attribute) -> tuple[int, ...]:
    """Shape of a tensor type."""
    assert isinstance(type_, TensorType)
    return type_.get_shape()


def same_shape(x: Attribute, y: Attribute) -> None:
    """The second type has the first one's shape."""
    xs, ys = shape_of(x), shape_of(y)
    expect(xs == ys, f"result must be {dims(xs)}, not {dims(ys)}")


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that `shapes` broadcast to as numpy does; `VerifyException` if they do not."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[int] = []
    for axis in range(rank):
        extents = {s[len(s) - rank + axis] for s in shapes if len(s) - rank + axis >= 0}
        extents.discard(1)
        expect(len(extents) <= 1, f"shapes {' and '.join(map(dims, shapes))} do not broadcast")
        out.append(extents.pop() if extents else 1)
    return tuple(out)

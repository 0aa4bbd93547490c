"""Reductions along rows: which lane takes which element, and in which order they are combined.

In: how many rows and columns there are, and whether a row's elements lie side by side. Out:
`RowPlan`, and `ROW_OPS`: the steps of softmax, normalisation and sums, on any `Arithmetic`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.ir import Operation

from ..backend.isa.layout import ceil_div
from .checks import int_values, shape_of
from .dstc_pointwise import PLACES, NormalizeOp, ReduceOp
from .functions import LOG2_E, Arithmetic

WARP = 32
FEW = 8
"""Rows of so few columns are each a lane's, even if they lie side by side."""
WIDEST = 4
"""Columns that a lane takes side by side, at most."""
HELD = 32
"""Columns of a row that a lane keeps in registers; of longer rows they are loaded for each step."""


@dataclass(frozen=True)
class RowPlan:
    """`lanes` lanes (1 or 32) take a row's columns in chunks of `width` by turns.

    Column (turn * lanes + lane) * width + e is element e of a lane's chunk of that turn. A lane
    combines its columns in ascending order; then lanes l and l ^ 16, l ^ 8, ... l ^ 1 are combined.
    """

    rows: int
    columns: int
    lanes: int
    width: int

    @staticmethod
    def of(rows: int, columns: int, run: int) -> RowPlan:
        """The plan; `run`: so many of a row's elements are neighbours in memory, 0 for none."""
        if not run or columns <= FEW:
            return RowPlan(rows, columns, 1, 1)
        return RowPlan(rows, columns, WARP, math.gcd(WIDEST, run))

    @property
    def turns(self) -> int:
        """Chunks of a lane."""
        return ceil_div(self.columns, self.lanes * self.width)

    @property
    def whole(self) -> bool:
        """Every lane has the same number of columns."""
        return self.columns == self.turns * self.lanes * self.width

    @property
    def held(self) -> bool:
        """A lane keeps its columns in registers."""
        return self.turns * self.width <= HELD


Many = Sequence[Any]


@dataclass(frozen=True)
class Reduce:
    """Combine `of(m, x, stats)` over the columns; `then` makes a statistic of the result.

    `numbered`: an `of` that takes the number of the column, an f32, as well.
    """

    kind: str
    of: Callable[[Arithmetic[Any], Any, Many], Any] | None = None
    then: Callable[[Arithmetic[Any], Any], Any] | None = None
    numbered: Callable[[Arithmetic[Any], Any, Many, Any], Any] | None = None

    def term(self, m: Arithmetic[Any], x: Any, stats: Many, column: Callable[[], Any]) -> Any:
        """What a column adds; `column()` is its number."""
        if self.numbered is not None:
            return self.numbered(m, x, stats, column())
        return x if self.of is None else self.of(m, x, stats)


@dataclass(frozen=True)
class Map:
    """Every column becomes `to(m, x, stats)`, from what it was and the statistics so far."""

    to: Callable[[Arithmetic[Any], Any, Many], Any]


Step = Reduce | Map

NEUTRAL = {"sum": 0.0, "max": -math.inf, "min": math.inf, "prod": 1.0}
"""What combining starts from, and a column beyond the row's end counts as."""


def combine(m: Arithmetic[Any], kind: str, a: Any, b: Any) -> Any:
    """One step of a reduction."""
    return {"sum": m.add, "max": m.maximum, "min": m.minimum, "prod": m.mul}[kind](a, b)


SOFTMAX: tuple[Step, ...] = (
    Reduce("max"),
    Map(lambda m, x, s: m.special("ex2", m.mul(m.sub(x, s[0]), m.number(LOG2_E)))),
    Reduce("sum", then=lambda m, total: m.special("rcp", total)),
    Map(lambda m, x, s: m.mul(x, s[1])),
)
"""2^((x - max) log2 e) times 1 / sum."""


def normalization(columns: int, epsilon: float, centred: bool) -> tuple[Step, ...]:
    """(x - mean) times 1 / sqrt(mean of squares of that + epsilon)."""

    def scaled(m: Arithmetic[Any], total: Any) -> Any:
        return m.mul(total, m.number(1 / columns))

    mean: tuple[Step, ...] = (Reduce("sum", then=scaled), Map(lambda m, x, s: m.sub(x, s[0])))
    rest: tuple[Step, ...] = (
        Reduce(
            "sum",
            of=lambda m, x, s: m.mul(x, x),
            then=lambda m, total: m.special("rsq", m.add(scaled(m, total), m.number(epsilon))),
        ),
        Map(lambda m, x, s: m.mul(x, s[-1])),
    )
    return (*mean, *rest) if centred else rest


def _found(m: Arithmetic[Any], x: Any, stats: Many, column: Any) -> Any:
    """The column if it has what is sought, or both are NaN; else one behind all."""
    there, nowhere = m.compare("eq", x, stats[0]), m.number(math.inf)
    missing = m.select(m.compare("ne", x, x), column, nowhere)
    return m.select(there, column, missing)


def reduction(kind: str, columns: int) -> tuple[Step, ...]:
    """A single statistic, the last one."""
    if kind in PLACES:
        return (Reduce(PLACES[kind]), Reduce("min", numbered=_found))
    if kind == "mean":
        return (Reduce("sum", then=lambda m, total: m.mul(total, m.number(1 / columns))),)
    return (Reduce(kind),)


@dataclass(frozen=True)
class RowOp:
    """A row-wise op: its plan, the dimensions of its operand along a row, and its steps.

    `elements`: the result has the operand's shape; else one element a row, the last statistic.
    """

    plan: RowPlan
    axes: tuple[int, ...]
    steps: tuple[Step, ...]
    elements: bool


def _run(shape: Sequence[int], axes: Sequence[int]) -> int:
    """How many elements of a row are neighbours in memory; 0 if neighbours are in other rows."""
    run = 1
    for axis in reversed(range(len(shape))):
        if axis not in axes and shape[axis] > 1:
            return run if run > 1 else 0
        run *= shape[axis]
    return run


def row_op(op: Operation) -> RowOp | None:
    """The row-wise op that `op` is, if it is one."""
    from .dstc import SoftmaxOp  # which imports this package's other ops

    if not isinstance(op, SoftmaxOp | NormalizeOp | ReduceOp):
        return None
    shape = shape_of(op.x.type)
    if isinstance(op, SoftmaxOp):
        axes: tuple[int, ...] = (op.axis.value.data,)
    elif isinstance(op, NormalizeOp):
        axes = tuple(range(op.axis.value.data, len(shape)))
    else:
        axes = int_values(op.axes)
    columns = math.prod(shape[a] for a in axes)
    rows = math.prod(shape) // columns
    plan = RowPlan.of(rows, columns, _run(shape, axes))
    if isinstance(op, SoftmaxOp):
        return RowOp(plan, axes, SOFTMAX, True)
    if isinstance(op, NormalizeOp):
        steps = normalization(columns, float(op.epsilon.value.data), op.subtracts_mean)
        return RowOp(plan, axes, steps, True)
    return RowOp(plan, axes, reduction(op.kind.data, columns), False)

"""Register allocation: out of SSA, coalescing, and colouring with aligned groups.

In: a `dstc_isa.kernel` on virtual registers. Out: the same kernel, each value's type naming its
register, copies explicit, `registers` set. There is no spilling: too many live values are an error.

Block arguments stay: a jump passes values that are already in the argument's register. Copies
stand on edges (branch edges that pass values get a block), so arguments and what is passed to them
are united wherever they do not interfere, deepest loops first, and the rest become parallel copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import Block, Operation, SSAValue

from ..dialects.dstc_isa import IsaOp, JumpOp, KernelOp, PredType, RegType, UndefOp, Use
from ..dialects.provenance import locate
from .cfg import Flow, edges, fold_jumps, remove_unreachable, split_edges
from .interference import SIZES, Classes, Peak, copied, is_predicate, size_of, tied
from .isa.errors import DstcError
from .isa.table import NUM_PREDICATES, NUM_REGISTERS, PT, RZ
from .liveness import Liveness, bits
from .parallel_copy import move, parallel_copy

_UNIVERSE = (1 << 2048) - 1
"""Colours enough for any kernel: beyond the limit they only say how many would be needed."""
_ALIGNED = {
    n: sum(1 << i for i in range(0, 2048, min(4, n))) for n in SIZES
}  # where a group of n may start

_LATE_READERS = ("SPWMMA", "SPWMMA64", "OHMMA")
_LATE = 2
"""Late readers that may be under way when an instruction issues, as many as a sub-core's queue
holds: what they read should not be written."""
_LATE_REGISTERS = 40
"""Registers beyond the most that are live, to keep such writes apart, for each accumulation tile of
the warp: the more it has, the fewer warps share its sub-core."""


def allocate(kernel: KernelOp, max_registers: int = NUM_REGISTERS) -> None:
    """Assign registers R0..R(`max_registers` - 1) and predicates P0..P6 in `kernel`, in place.

    Raises `DstcError` if they do not suffice, or if the kernel has registers already.
    """
    name = kernel.sym_name.data
    if not 1 <= max_registers <= NUM_REGISTERS:
        raise DstcError(f"max-registers must be 1 to {NUM_REGISTERS}, not {max_registers}")
    if kernel.registers is not None:
        raise DstcError(f"kernel {name}: registers are allocated already; run the pass once")
    remove_unreachable(kernel)
    split_edges(kernel)
    _separate_undefined(kernel)
    _free_ties(kernel)
    flow = Flow.of(kernel)
    liveness = Liveness.of(flow)
    tiles = kernel.acc_tiles.value.data
    for optional, spread in ((True, True), (True, False), (False, False)):
        classes = Classes(flow, liveness)
        _unite(flow, classes, optional=optional)
        least = classes.register_peak.count
        budget = max(least, min(max_registers, least + _LATE_REGISTERS * tiles))
        colours = _colour(classes, _read_late(flow, classes) if spread else {}, budget)
        used = _used(classes, colours, classes.registers)
        predicates = _used(classes, colours, classes.predicates)
        if used <= max_registers and predicates <= NUM_PREDICATES:
            break
    else:
        what = ("registers", used, max_registers, classes.register_peak)
        if used <= max_registers:
            what = ("predicates", predicates, NUM_PREDICATES, classes.predicate_peak)
        raise DstcError(_shortage(name, *what))
    types = _types(classes, colours)
    for value, type_ in zip(liveness.values, types, strict=True):
        set_type(value, type_)
    for block in flow.blocks:
        _copy_on_edge(block.last_op)
    _drop_copies(kernel)
    fold_jumps(kernel)
    kernel.registers = IntegerAttr(used, i64)


def set_type(value: SSAValue, type_: RegType | PredType) -> None:
    """Change the type of a value in place (its uses stay)."""
    value._type = type_  # pyright: ignore[reportPrivateUsage]


def block_of(op: Operation) -> Block:
    """The block that `op` is in."""
    block = op.parent_block()
    assert block is not None
    return block


def _shortage(kernel: str, what: str, needed: int, limit: int, peak: Peak) -> str:
    where = "" if peak.op is None else f" (most are live at `{describe(peak.op)}`)"
    remedy = (
        "use a smaller warp tile" if what == "registers" else "keep fewer conditions live at once"
    )
    return f"kernel {kernel}: needs {needed} {what}{where}, but the limit is {limit}; {remedy}"


def describe(op: Operation) -> str:
    """One line that names an op for the user: its text, and the tile op that it came from."""
    text = " ".join(str(op).split(" : ")[0].split())
    tile = op.attributes.get("dstc_isa.tile")
    return text if tile is None else f"{text} from {str(tile).strip(chr(34))}"


def _separate_undefined(kernel: KernelOp) -> None:
    """Give each use of an undefined value an undefined value of its own, just before it."""
    for undefined in [op for op in kernel.walk() if isinstance(op, UndefOp)]:
        for use in list(undefined.out.uses):
            fresh = UndefOp(_plain(undefined.out))
            locate(fresh, undefined)
            block_of(use.operation).insert_op_before(fresh, use.operation)
            use.operation.operands[use.index] = fresh.out
        block_of(undefined).erase_op(undefined)


def _plain(value: SSAValue) -> RegType | PredType:
    """The type of `value` without an assigned register."""
    return PredType.of() if is_predicate(value) else RegType.of(size_of(value))


def _free_ties(kernel: KernelOp) -> None:
    """Where a value is needed after an op that overwrites it (`into`), overwrite a copy instead."""
    flow = Flow.of(kernel)
    liveness = Liveness.of(flow)
    number = liveness.number
    for index, block in enumerate(flow.blocks):
        live = liveness.live_out[index]
        for op in reversed(list(block.ops)):
            value = tied(op)
            for result in op.results:
                live &= ~(1 << number[result])
            if value is not None and live >> number[value] & 1:
                assert isinstance(op, IsaOp)
                _copy_tied(op)
            for operand in op.operands:
                if operand in number:
                    live |= 1 << number[operand]


def _copy_tied(op: IsaOp) -> None:
    """Copy the parts of `into` that `op` leaves alone, and let it write the copy."""
    block = block_of(op)
    index = [role.data for role in op.roles.data].index("into")
    use = op.uses["into"]
    first, count = use.sub, op.operand_registers("into")
    if "guard" in op.uses:
        first, count = 0, 0
    type_ = _plain(use.value)
    if size_of(use.value) == 1 and not count:
        copy = move(Use(use.value), type_)
        locate(copy, op)
        block.insert_op_before(copy, op)
        op.operands[index] = copy.outs[0]
        return
    start = UndefOp(type_)
    locate(start, op)
    block.insert_op_before(start, op)
    value: SSAValue = start.out
    for sub in range(size_of(use.value)):
        if not first <= sub < first + count:
            copy = move(Use(use.value, sub), type_, Use(value, sub))
            locate(copy, op)
            block.insert_op_before(copy, op)
            value = copy.outs[0]
    op.operands[index] = value


@dataclass(frozen=True)
class _Affinity:
    """Two values that should share registers; the weight is what a copy would cost."""

    weight: int
    a: SSAValue
    b: SSAValue


def _unite(flow: Flow, classes: Classes, *, optional: bool) -> None:
    """Unite tied values, and, if `optional`, those joined by copies that do not interfere."""
    number = classes.liveness.number
    wishes: list[_Affinity] = []
    for index, block in enumerate(flow.blocks):
        weight = 16 * 8 ** min(flow.depth[index], 6)
        for op in block.ops:
            value = tied(op)
            if value is not None:
                assert not classes.interfere(number[value], number[op.results[0]]), str(op)
                classes.unite(number[value], number[op.results[0]])
            wishes.extend(_op_wishes(op, weight))
        for target, values in edges(block):
            for arg, value in zip(target.args, values, strict=True):
                if arg.first_use is not None:
                    wishes.append(_Affinity(weight * size_of(arg), arg, value))
    if not optional:
        return
    for wish in sorted(wishes, key=lambda w: -w.weight):
        a, b = number[wish.a], number[wish.b]
        if classes.find(a) != classes.find(b) and not classes.interfere(a, b):
            classes.unite(a, b)


def _op_wishes(op: Operation, weight: int) -> Iterable[_Affinity]:
    source = copied(op)
    if source is not None and op.results[0].first_use is not None:
        yield _Affinity(weight, op.results[0], source)
    elif isinstance(op, IsaOp) and op.ROW.mnemonic in ("HMMA", "HMMA.SP"):
        uses = op.uses
        c = uses.get("c")
        if c is not None and "into" not in uses and size_of(c.value) == 2:
            yield _Affinity(weight // 16, op.outs[0], c.value)


def _needs_register(value: SSAValue) -> bool:
    """Unused results go to RZ or PT, unless they are written into an existing group."""
    return value.first_use is not None or (
        isinstance(value.owner, IsaOp) and tied(value.owner) is not None
    )


def _read_late(flow: Flow, classes: Classes) -> dict[int, set[int]]:
    """Classes that should not share registers though they may.

    SPWMMA and OHMMA read their operands while they run; what writes those registers soon after
    would stall the warp.
    """
    number = classes.liveness.number
    late = {
        block: [
            op for op in block.ops if isinstance(op, IsaOp) and op.ROW.mnemonic in _LATE_READERS
        ]
        for block in flow.blocks
    }
    before: dict[Block, list[IsaOp]] = {block: [] for block in flow.blocks}
    for block in flow.blocks:
        for target, _ in edges(block):
            before[target] += late[block][-_LATE:]

    def reads(ops: Iterable[IsaOp]) -> set[int]:
        return {classes.find(number[v]) for op in ops for v in op.args if not is_predicate(v)}

    apart: dict[int, set[int]] = {}
    for block in flow.blocks:
        recent = before[block]
        reading = reads(recent)
        for op in block.ops:
            for value in op.results:
                if is_predicate(value):
                    continue
                own = classes.find(number[value])
                for other in reading - {own}:
                    apart.setdefault(own, set()).add(other)
                    apart.setdefault(other, set()).add(own)
            if isinstance(op, IsaOp) and op.ROW.mnemonic in _LATE_READERS:
                recent = [*recent[1 - _LATE :], op]
                reading = reads(recent)
    return apart


def _colour(classes: Classes, apart: dict[int, set[int]], budget: int) -> dict[int, int]:
    """First register of each class; the best of some orders, the fewest registers winning.

    Classes in `apart` keep off each other's registers within `budget` registers.
    """
    values = classes.liveness.values
    graph = classes.neighbours()
    needed = {classes.find(i) for i, value in enumerate(values) if _needs_register(value)}
    sizes = {root: size_of(values[root]) for root in needed}
    start = {root: min(bits(classes.members[root])) for root in needed}
    degree = {root: sum(sizes.get(n, 0) for n in graph[root]) for root in needed}
    best: dict[int, int] = {}
    best_used = -1
    orders: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda r: (-sizes[r], start[r]),
        lambda r: (-sizes[r], -degree[r], start[r]),
        lambda r: (-degree[r] * sizes[r], start[r]),
        lambda r: (start[r],),
    )
    for order in orders:
        colours: dict[int, int] = {}
        taken: dict[int, int] = {}  # registers of a coloured class, as a bit set
        for root in sorted(needed, key=order):
            forbidden = 0
            for other in graph[root]:
                forbidden |= taken.get(other, 0)
            soft = forbidden
            for other in apart.get(root, ()):
                soft |= taken.get(other, 0)
            at = _first_fit(soft, sizes[root])
            if soft != forbidden and at + sizes[root] > budget:
                at = _first_fit(forbidden, sizes[root])
            colours[root] = at
            taken[root] = ((1 << sizes[root]) - 1) << at
        used = _used(classes, colours, classes.registers)
        if best_used < 0 or used < best_used:
            best, best_used = colours, used
        if best_used <= budget and _used(classes, best, classes.predicates) <= NUM_PREDICATES:
            break
    return best


def _first_fit(forbidden: int, count: int) -> int:
    """Lowest aligned start of `count` registers of which none is in `forbidden`."""
    free = _UNIVERSE & ~forbidden
    width = 1
    while width < count:
        free &= free >> width
        width *= 2
    free &= _ALIGNED[count]
    return (free & -free).bit_length() - 1


def _used(classes: Classes, colours: dict[int, int], kind: int) -> int:
    """Registers (or predicates: `kind` is the bit set of values of the kind) that are assigned."""
    values = classes.liveness.values
    return max(
        (at + size_of(values[root]) for root, at in colours.items() if kind >> root & 1), default=0
    )


def _types(classes: Classes, colours: dict[int, int]) -> list[RegType | PredType]:
    types: list[RegType | PredType] = []
    for i, value in enumerate(classes.liveness.values):
        at = colours[classes.find(i)] if _needs_register(value) else None
        if is_predicate(value):
            types.append(PredType.of(PT if at is None else at))
        else:
            types.append(RegType.of(size_of(value), RZ if at is None else at))
    return types


def _copy_on_edge(jump: Operation | None) -> None:
    """Put what `jump` passes into the registers of the target's arguments."""
    if not isinstance(jump, JumpOp):
        return
    block = block_of(jump)
    targets: list[RegType | PredType] = []
    sources: list[SSAValue] = []
    where: list[int] = []
    for i, (arg, value) in enumerate(zip(jump.target.args, jump.values, strict=True)):
        if arg.type == value.type:
            continue
        assert isinstance(arg.type, RegType | PredType)
        if arg.first_use is None or isinstance(value.owner, UndefOp):
            fresh = UndefOp(arg.type)
            block.insert_op_before(fresh, jump)
            jump.operands[i] = fresh.out
        else:
            targets.append(arg.type)
            sources.append(value)
            where.append(i)
    ops, results = parallel_copy(targets, sources)
    for op in ops:
        locate(op, jump)
        block.insert_op_before(op, jump)
    for i, value in zip(where, results, strict=True):
        jump.operands[i] = value


def _drop_copies(kernel: KernelOp) -> None:
    """Remove copies of a register to itself, and undefined values that nothing uses."""
    for block in kernel.body.blocks:
        for op in list(block.ops):
            source = copied(op)
            if source is not None and source.type == op.results[0].type:
                op.results[0].replace_all_uses_with(source)
                block.erase_op(op)
            elif isinstance(op, UndefOp) and op.out.first_use is None:
                block.erase_op(op)

"""Instruction scheduling: list scheduling of each block before register allocation.

In: a `dstc_isa.kernel` on virtual registers and the machine's `Latencies`. Out: the same kernel
with each block's ops in an order that hides latency and keeps to the registers.

Dependences are values, memory (loads may pass loads; a store is ordered with all accesses of its
space; BAR with all memory), accumulation tiles (in order), and registers to be shared (`into`, and
a loop's argument with its next value): a reader of the old value stays ahead of the new one's
definition. NOP, BSSY, BSYNC and reads of SR_CLOCK stay where they are, with all that surrounds
them on its side.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from ..dialects.dstc_isa import FenceOp, IsaOp, KernelOp, UndefOp
from .cfg import Flow, edges
from .interference import is_predicate, size_of, tied
from .isa.table import NUM_PREDICATES, Kind, Unit
from .liveness import Liveness

PRESSURE = 200
"""Live registers above which nothing is hoisted; the rest of the 255 is room for the allocator."""


@dataclass(frozen=True)
class Latencies:
    """Cycles of a machine from issue to use, and registers to stay below.

    alu, fma, mufu: arithmetic; predicate: whatever sets one; shared: LDS, shuffle: SHFL;
    global_memory: LDG and ATOM (a miss in L2); tensor: HMMA to another use, accumulate: to the next
    HMMA's c, and from use to use of an accumulation tile; intervals: cycles that an instruction
    occupies its unit; positions: BOHMMA to OHMMA; squashes: the front end drops OHMMAs
    beyond the popcounts, and all but the first of a set are taken for such.
    """

    alu: int
    fma: int
    mufu: int
    predicate: int
    shared: int
    shuffle: int
    global_memory: int
    tensor: int
    accumulate: int
    intervals: Mapping[Unit, int]
    positions: int = 1
    squashes: bool = False
    pressure: int = PRESSURE

    def of(self, op: Operation) -> int:
        """Cycles until the result of `op` can be used."""
        if not isinstance(op, IsaOp):
            return 0
        if op.ROW.mnemonic == "SHFL":
            return self.shuffle
        if op.ROW.mnemonic == "BOHMMA":
            return self.positions
        if op.results and is_predicate(op.results[0]):
            return self.predicate
        return {
            Unit.ALU: self.alu,
            Unit.FMA: self.fma,
            Unit.MUFU: self.mufu,
            Unit.SHARED: self.shared,
            Unit.GLOBAL: self.global_memory,
            Unit.TENSOR: self.tensor,
        }.get(op.ROW.unit, 1)

    def dropped(self, op: Operation) -> bool:
        """Whether `op` is taken for a squashed OHMMA, which takes no time."""
        if not self.squashes or not isinstance(op, IsaOp) or op.ROW.mnemonic != "OHMMA":
            return False
        return not {"A0", "B0"} <= set(op.modifier_choices.values())


_ATTEMPTS = ((5, 0), (3, 0), (1, 0), (5, 8), (3, 8), (1, 8))
"""To be tried in turn: live predicates above which none is hoisted (P0 to P6 must suffice), and by
how many registers the limit is lowered (the last op hoisted takes up to 8 more)."""
_SPACES = {Unit.SHARED: ("shared",), Unit.GLOBAL: ("global",), Unit.BARRIER: ("shared", "global")}


def schedule(kernel: KernelOp, latencies: Latencies) -> None:
    """Reorder the ops within each block of `kernel`, in place. Deterministic."""
    flow = Flow.of(kernel)
    liveness = Liveness.of(flow)
    for index, block in enumerate(flow.blocks):
        _schedule_block(block, liveness, index, latencies)


def _schedule_block(block: Block, liveness: Liveness, index: int, latencies: Latencies) -> None:
    ops = list(block.ops)
    body = ops[:-1]
    if len(body) < 2:
        return
    pressure = _Pressure(ops, liveness, index)
    before = pressure.peak(body)
    bounds = max(before[0], latencies.pressure), max(before[1], NUM_PREDICATES - 1)
    for predicates, lowered in _ATTEMPTS:
        limits = latencies.pressure - lowered, predicates
        order: list[Operation] = []
        for segment in _segments(body):
            if len(segment) == 1:
                order.extend(segment)
            else:
                live = pressure.at(order)
                order.extend(_list_schedule(block, segment, latencies, limits, live))
        after = pressure.peak(order)
        if after[0] <= bounds[0] and after[1] <= bounds[1]:
            break
    else:
        return
    if order == body:
        return
    for op in body:
        op.detach()
    last = block.last_op
    assert last is not None
    block.insert_ops_before(order, last)


def _fixed(op: Operation) -> bool:
    """Nothing may move across `op`.

    An SPWMMA keeps the tensor core busy for longer than any latency known here, and so do the
    OHMMAs that stand for one, of which the first is taken for all: what stands before and after it
    is the software pipeline's choice, and stays there.
    """
    if not isinstance(op, IsaOp):
        return isinstance(op, FenceOp)
    return (
        op.ROW.unit == Unit.BRANCH
        or op.ROW.mnemonic in ("SPWMMA", "SPWMMA64")
        or (op.ROW.mnemonic == "OHMMA" and _first_of_step(op))
        or op.immediate_values.get("sr") == "SR_CLOCK"
    )


def _first_of_step(op: IsaOp) -> bool:
    chosen = op.modifier_choices
    return (chosen["k"], chosen["chunk_a"], chosen["chunk_b"]) == ("K0", "A0", "B0")


def _segments(ops: Iterable[Operation]) -> list[list[Operation]]:
    segments: list[list[Operation]] = [[]]
    for op in ops:
        if _fixed(op):
            segments.extend(([op], []))
        else:
            segments[-1].append(op)
    return [segment for segment in segments if segment]


class _Pressure:
    """Registers live while ops are placed one after the other."""

    def __init__(self, ops: Sequence[Operation], liveness: Liveness, index: int):
        out = liveness.live_out[index]
        self.uses: dict[SSAValue, int] = {}  # ops of the block that read the value; out: one more
        for op in ops:
            for value in set(op.operands):
                self.uses[value] = self.uses.get(value, 0) + 1
        for value, number in liveness.number.items():
            if out >> number & 1:
                self.uses[value] = self.uses.get(value, 0) + 1
        own = {value for op in ops for value in op.results}
        through = (v for v in self.uses if v not in own)
        self.start = [0, 0]
        for value in through:
            self.start[is_predicate(value)] += size_of(value)

    def at(self, placed: Iterable[Operation]) -> _Live:
        """Registers live after `placed`."""
        live = _Live(dict(self.uses), list(self.start))
        for op in placed:
            live.place(op)
        return live

    def peak(self, order: Iterable[Operation]) -> tuple[int, int]:
        """The most registers and the most predicates live in `order`."""
        live = self.at(())
        registers, predicates = live.count
        for op in order:
            live.place(op)
            registers, predicates = max(registers, live.count[0]), max(predicates, live.count[1])
        return registers, predicates


@dataclass
class _Live:
    left: dict[SSAValue, int]
    """Readers of each value still to come."""
    count: list[int]
    """Live registers, live predicates."""

    def place(self, op: Operation) -> None:
        """Count the registers that `op` frees and takes."""
        for value in set(op.operands):
            self.left[value] -= 1
            if not self.left[value]:
                self.count[is_predicate(value)] -= size_of(value)
        for value in op.results:
            if self.left.get(value):
                self.count[is_predicate(value)] += size_of(value)


@dataclass
class _Graph:
    """Dependences among a segment's ops, by position: (later op, least distance in cycles)."""

    after: list[list[tuple[int, int]]]
    waiting: list[int]

    @staticmethod
    def of(block: Block, ops: Sequence[Operation], latencies: Latencies) -> _Graph:
        graph = _Graph([[] for _ in ops], [0] * len(ops))
        graph._values(ops, latencies)
        graph._shared_registers(block, ops)
        graph._memory(ops)
        graph._accumulators(ops, latencies)
        return graph

    def add(self, first: int, second: int, distance: int) -> None:
        self.after[first].append((second, distance))
        self.waiting[second] += 1

    def _values(self, ops: Sequence[Operation], latencies: Latencies) -> None:
        made: dict[SSAValue, int] = {}
        for i, op in enumerate(ops):
            accumulates = _accumulated(op)
            for value in set(op.operands):
                if value in made:
                    maker = ops[made[value]]
                    chained = value is accumulates and _accumulated(maker) is not None
                    self.add(
                        made[value], i, latencies.accumulate if chained else latencies.of(maker)
                    )
            for value in op.results:
                made[value] = i

    def _shared_registers(self, block: Block, ops: Sequence[Operation]) -> None:
        """Readers of a value stay ahead of what is to take over its registers."""
        readers: dict[SSAValue, list[int]] = {}
        successor: dict[SSAValue, list[SSAValue]] = {}
        for target, values in edges(block):
            for arg, value in zip(target.args, values, strict=True):
                successor.setdefault(value, []).append(arg)
        for i, op in enumerate(ops):
            old = [value] if (value := tied(op)) is not None else []
            for result in op.results:
                old.extend(successor.get(result, ()))
            for value in old:
                for reader in readers.get(value, ()):
                    self.add(reader, i, 0)
            for value in set(op.operands):
                readers.setdefault(value, []).append(i)

    def _memory(self, ops: Sequence[Operation]) -> None:
        stored: dict[str, int] = {}
        loaded: dict[str, list[int]] = {}
        for i, op in enumerate(ops):
            if not isinstance(op, IsaOp):
                continue
            tags, unit = op.ROW.tags, op.ROW.unit
            if not tags & {"load", "store", "barrier"}:
                continue
            for space in _SPACES[unit]:
                if space in stored:
                    self.add(stored[space], i, 1)
                if tags & {"store", "barrier"}:
                    for load in loaded.pop(space, ()):
                        self.add(load, i, 1)
                    stored[space] = i
                else:
                    loaded.setdefault(space, []).append(i)

    def _accumulators(self, ops: Sequence[Operation], latencies: Latencies) -> None:
        last: dict[int, int] = {}
        for i, op in enumerate(ops):
            if not isinstance(op, IsaOp):
                continue
            for operand in op.ROW.operands:
                if operand.kind != Kind.ACC:
                    continue
                first = op.immediate_values["acc"]
                assert isinstance(first, int)
                for tile in range(first, first + operand.regs):
                    if tile in last:
                        follows = _is_ohmma(ops[last[tile]]) and _is_ohmma(op)
                        distance = 0 if latencies.dropped(op) else 1
                        self.add(last[tile], i, distance if follows else latencies.accumulate)
                    last[tile] = i


def _is_ohmma(op: Operation) -> bool:
    """OHMMAs on one tile never wait for each other."""
    return isinstance(op, IsaOp) and op.ROW.mnemonic == "OHMMA"


def _accumulated(op: Operation) -> SSAValue | None:
    """The value that an HMMA or HMMA.SP adds to."""
    if not isinstance(op, IsaOp) or op.ROW.mnemonic not in ("HMMA", "HMMA.SP"):
        return None
    use = op.uses.get("c")
    return None if use is None else use.value


@dataclass
class _Queues:
    """Ops whose dependences are placed: those to become ready, and the ready ones by unit."""

    later: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    ready: dict[Unit, list[tuple[int, int]]] = field(
        default_factory=dict[Unit, list[tuple[int, int]]]
    )

    def wake(self, time: int, units: Sequence[Unit], priority: Sequence[int]) -> None:
        """Move what is ready at `time` to its unit's heap."""
        while self.later and self.later[0][0] <= time:
            _, i = heapq.heappop(self.later)
            heapq.heappush(self.ready.setdefault(units[i], []), (-priority[i], i))

    def best(self, time: int, free: Mapping[Unit, int], done: Sequence[bool]) -> int | None:
        """Take the most urgent op whose unit is free."""
        found: tuple[int, int] | None = None
        unit_found: Unit | None = None
        for unit, heap in self.ready.items():
            while heap and done[heap[0][1]]:
                heapq.heappop(heap)
            if heap and free.get(unit, 0) <= time and (found is None or heap[0] < found):
                found, unit_found = heap[0], unit
        if found is None or unit_found is None:
            return None
        heapq.heappop(self.ready[unit_found])
        return found[1]

    def next_time(self, time: int, free: Mapping[Unit, int]) -> int:
        """When something can be placed that cannot be at `time`."""
        times = [free.get(unit, 0) for unit, heap in self.ready.items() if heap]
        times += [self.later[0][0]] if self.later else []
        return max(time + 1, min(times, default=0))


def _list_schedule(
    block: Block,
    ops: Sequence[Operation],
    latencies: Latencies,
    limits: tuple[int, int],
    live: _Live,
) -> list[Operation]:
    graph = _Graph.of(block, ops, latencies)
    priority = _critical_path(ops, graph, latencies)
    units = [op.ROW.unit if isinstance(op, IsaOp) else Unit.BRANCH for op in ops]
    queues = _Queues()
    earliest = [0] * len(ops)
    waiting = list(graph.waiting)
    done = [False] * len(ops)
    free: dict[Unit, int] = {}
    order: list[Operation] = []
    for i in range(len(ops)):
        if not waiting[i]:
            heapq.heappush(queues.later, (0, i))
    time, oldest = 0, 0
    while len(order) < len(ops):
        while done[oldest]:
            oldest += 1
        queues.wake(time, units, priority)
        if live.count[0] > limits[0] or live.count[1] > limits[1]:
            choice = oldest  # the given order needs no more registers than it needs
            time = max(time, earliest[choice])
        else:
            choice = queues.best(time, free, done)
            if choice is None:
                time = queues.next_time(time, free)
                continue
        done[choice] = True
        order.append(ops[choice])
        live.place(ops[choice])
        free_of_charge = isinstance(ops[choice], UndefOp) or latencies.dropped(ops[choice])
        if not free_of_charge:
            free[units[choice]] = time + latencies.intervals.get(units[choice], 1)
        for later, distance in graph.after[choice]:
            earliest[later] = max(earliest[later], time + distance)
            waiting[later] -= 1
            if not waiting[later]:
                heapq.heappush(queues.later, (earliest[later], later))
        if not free_of_charge:
            time += 1
    return order


def _critical_path(ops: Sequence[Operation], graph: _Graph, latencies: Latencies) -> list[int]:
    """Cycles from each op's issue to the end of the segment."""
    length = [latencies.of(op) for op in ops]
    for i in reversed(range(len(ops))):
        for later, distance in graph.after[i]:
            length[i] = max(length[i], distance + length[later])
    return length

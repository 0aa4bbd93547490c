"""Parallel copies between registers, as a sequence of instructions.

In: destination types (assigned) and source values (assigned), all copied at once. Out: ops that do
it one register at a time, and the values that they leave in the destinations.

A cycle (a swap) is done by exclusive-or, so that no spare register is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from xdsl.ir import Operation, SSAValue

from ..dialects.dstc_isa import IsaOp, PredType, RegType, UndefOp, Use
from .interference import size_of

Place = tuple[bool, int]
"""A register (False) or predicate (True) by number."""


def place_of(type_: object, sub: int = 0) -> Place:
    """Where part `sub` of a value of an assigned type is."""
    assert isinstance(type_, RegType | PredType) and type_.assigned is not None
    return isinstance(type_, PredType), type_.assigned + sub


def move(use: Use, result: RegType | PredType, into: Use | None = None) -> IsaOp:
    """A copy of one register or predicate."""
    uses = {"into": into} if into is not None else {}
    if isinstance(result, PredType):
        return IsaOp.build("PLOP", {"pa": use, **uses}, modifiers=["AND"], result=result)
    return IsaOp.build("MOV", {"b": use, **uses}, result=result)


@dataclass
class _Copier:
    """Destinations being filled; `now`: where the contents of each register to read are now."""

    targets: Sequence[RegType | PredType]
    now: dict[Place, Use]
    ops: list[Operation] = field(default_factory=list[Operation])
    done: dict[int, SSAValue] = field(default_factory=dict[int, SSAValue])

    def write(
        self,
        at: tuple[int, int] | None,
        place: Place,
        make: Callable[[RegType | PredType, Use | None], IsaOp],
    ) -> Use:
        """Add the op that `make` gives; `at`: the destination and part of it that it completes."""
        target = self.targets[at[0]] if at is not None else None
        if at is None or target is None or isinstance(target, PredType) or target.registers == 1:
            type_ = PredType.of(place[1]) if place[0] else RegType.of(1, place[1])
            op = make(type_, None)
            if at is not None:
                self.done[at[0]] = op.outs[0]
        else:
            if at[0] not in self.done:
                start = UndefOp(target)
                self.ops.append(start)
                self.done[at[0]] = start.out
            op = make(target, Use(self.done[at[0]], at[1]))
            self.done[at[0]] = op.outs[0]
        self.ops.append(op)
        sub = 0 if at is None or size_of(op.outs[0]) == 1 else at[1]
        return Use(op.outs[0], sub)


def _xor(a: Use, b: Use) -> Callable[[RegType | PredType, Use | None], IsaOp]:
    def make(result: RegType | PredType, into: Use | None) -> IsaOp:
        uses = {"into": into} if into is not None else {}
        if isinstance(result, PredType):
            return IsaOp.build("PLOP", {"pa": a, "pb": b, **uses}, modifiers=["XOR"], result=result)
        return IsaOp.build("LOP", {"a": a, "b": b, **uses}, modifiers=["XOR"], result=result)

    return make


def parallel_copy(
    targets: Sequence[RegType | PredType], sources: Sequence[SSAValue]
) -> tuple[list[Operation], list[SSAValue]]:
    """Ops that copy each source to its target type's registers, and the values then there.

    Targets do not overlap. A source may go to several targets or be where it shall go already.
    """
    pending: dict[Place, Place] = {}
    completes: dict[Place, tuple[int, int]] = {}
    copier = _Copier(targets, {})
    for i, (target, source) in enumerate(zip(targets, sources, strict=True)):
        if target == source.type:
            copier.done[i] = source
            continue
        for sub in range(size_of(source)):
            pending[place_of(target, sub)] = place_of(source.type, sub)
            completes[place_of(target, sub)] = (i, sub)
            copier.now[place_of(source.type, sub)] = Use(source, sub)
    readers: dict[Place, int] = {}
    for place in pending.values():
        readers[place] = readers.get(place, 0) + 1
    free = [place for place in pending if place not in readers]
    while free:
        place = free.pop(0)
        origin = pending.pop(place)
        use = copier.now[origin]
        copier.write(completes[place], place, lambda t, into, use=use: move(use, t, into))
        readers[origin] -= 1
        if not readers[origin] and origin in pending:
            free.append(origin)
    while pending:  # what is left are cycles
        cycle = [next(iter(pending))]
        while (origin := pending[cycle[-1]]) != cycle[0]:
            cycle.append(origin)
        _rotate(copier, cycle, completes)
        for place in cycle:
            del pending[place]
    return copier.ops, [copier.done[i] for i in range(len(targets))]


def _rotate(copier: _Copier, cycle: list[Place], completes: dict[Place, tuple[int, int]]) -> None:
    """Each place of `cycle` gets what the next holds, the last what the first holds: swaps."""
    carried = copier.now[cycle[0]]
    for place, following in pairwise(cycle):
        other = copier.now[following]
        mixed = copier.write(None, place, _xor(carried, other))
        last = completes[following] if following is cycle[-1] else None
        carried = copier.write(last, following, _xor(other, mixed))
        copier.write(completes[place], place, _xor(carried, mixed))

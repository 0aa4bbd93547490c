"""verify-registers: prove that each read of an allocated kernel finds the value it names.

In: allocated `dstc_isa` kernels. Out: the same, untouched; an error names op, register, the value
that should be there and what is.

It shares nothing with the allocator: a forward dataflow says which (value, part) pairs each
register certainly holds, on all ways to a point; after a merge a register holds the argument.
Registers are per lane and writes touch only active lanes, so the ways of one lane are what counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from ..backend.isa.errors import DstcError
from ..backend.isa.table import NUM_PREDICATES, PT, RZ
from ..dialects.dstc_isa import (
    BranchOp,
    IsaOp,
    JumpOp,
    KernelOp,
    PredType,
    RegType,
    UndefOp,
)

Place = tuple[str, int]
"""("R", 7) or ("P", 3)."""
Part = tuple[SSAValue, int]
"""A value and which of its registers."""


class _State:
    """What each register certainly holds."""

    def __init__(self) -> None:
        self.holds: dict[Place, frozenset[Part]] = {}
        self.places: dict[SSAValue, set[Place]] = {}

    def copy(self) -> _State:
        new = _State()
        new.holds = dict(self.holds)
        new.places = {value: set(places) for value, places in self.places.items()}
        return new

    def forget(self, value: SSAValue) -> None:
        """`value` is defined anew: what registers held of the old one is stale."""
        for place in self.places.pop(value, set()):
            self.holds[place] = frozenset(p for p in self.holds[place] if p[0] is not value)

    def write(self, place: Place, parts: frozenset[Part]) -> None:
        """`place` holds `parts` now and nothing else."""
        for value, _ in self.holds.get(place, frozenset()):
            self.places[value].discard(place)
        self.holds[place] = parts
        for value, _ in parts:
            self.places.setdefault(value, set()).add(place)

    def add(self, place: Place, part: Part) -> None:
        """`place` may be said to hold `part` too."""
        self.write(place, self.holds.get(place, frozenset()) | {part})

    def meet(self, other: _State) -> _State:
        """What is certain on both ways."""
        new = _State()
        for place, parts in self.holds.items():
            new.write(place, parts & other.holds.get(place, frozenset()))
        return new

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _State):
            return NotImplemented
        return {p: h for p, h in self.holds.items() if h} == {
            p: h for p, h in other.holds.items() if h
        }

    __hash__ = None  # pyright: ignore[reportAssignmentType]


@dataclass
class _Verifier:
    kernel: KernelOp
    limit: int
    """Registers that the kernel declares."""
    entry: dict[Block, _State] = field(default_factory=dict[Block, _State])

    def run(self) -> None:
        """Iterate to the fixed point, then check every read."""
        for block in self.kernel.body.blocks:
            for value in _defined(block):
                self.check_type(value)
        first = self.kernel.body.blocks[0]
        self.entry[first] = _State()
        pending = [first]
        while pending:
            block = pending.pop()
            state = self.through(block, check=False)
            for target, values in _edges(block):
                new = self.across(block, state, target, values, check=False)
                old = self.entry.get(target)
                met = new if old is None else old.meet(new)
                if old is None or met != old:
                    self.entry[target] = met
                    pending.append(target)
        for block in self.entry:
            state = self.through(block, check=True)
            for target, values in _edges(block):
                self.across(block, state, target, values, check=True)

    def check_type(self, value: SSAValue) -> None:
        """The value has registers, and they are within the kernel's."""
        type_ = value.type
        if not isinstance(type_, RegType | PredType) or type_.assigned is None:
            raise DstcError(
                f"kernel {self.kernel.sym_name.data}: {_name(value)} has no register; "
                "run allocate-registers first"
            )
        if isinstance(type_, PredType) or type_.assigned == RZ:
            return
        if type_.assigned + type_.registers > self.limit:
            raise DstcError(
                f"kernel {self.kernel.sym_name.data}: {_name(value)} is in R{type_.assigned}, "
                f"outside the {self.limit} registers that the kernel declares"
            )

    def through(self, block: Block, *, check: bool) -> _State:
        """The state at the end of `block`."""
        state = self.entry[block].copy()
        for op in block.ops:
            if check:
                self.check_reads(op, state)
            self.define(op, state)
        return state

    def check_reads(self, op: Operation, state: _State) -> None:
        """Each operand is where the op reads it."""
        if isinstance(op, IsaOp):
            for role, use in op.uses.items():
                if role == "into":
                    if use.value.type != op.outs[0].type:
                        self.fail(op, f"its result must be in the registers of {_name(use.value)}")
                    continue
                count = 1 if isinstance(use.value.type, PredType) else op.operand_registers(role)
                for sub in range(use.sub, use.sub + count):
                    self.check(op, state, use.value, sub)
        elif isinstance(op, BranchOp):
            self.check(op, state, op.predicate, 0)

    def check(self, op: Operation, state: _State, value: SSAValue, sub: int) -> None:
        """`value`'s register `sub` holds it."""
        place = _place(value, sub)
        if isinstance(value.owner, UndefOp) or place is None:
            return
        held = state.holds.get(place, frozenset())
        if (value, sub) not in held:
            found = ", ".join(sorted({_name(v) for v, _ in held})) or "nothing certain"
            self.fail(op, f"reads {_name(value)} from {place[0]}{place[1]}, which holds {found}")

    def define(self, op: Operation, state: _State) -> None:
        """What the registers hold after `op`."""
        if not op.results:
            return
        result = op.results[0]
        if isinstance(op, UndefOp):
            state.forget(result)
            for sub, place in _places(result):
                state.add(place, (result, sub))
            return
        assert isinstance(op, IsaOp)
        into = op.uses.get("into")
        kept: list[tuple[int, Place]] = []
        start, count = 0, _size(result)
        if into is not None:
            start = into.sub
            count = 1 if isinstance(result.type, PredType) else op.operand_registers("into")
            kept = [
                (sub, place)
                for sub, place in _places(into.value)
                if (into.value, sub) in state.holds.get(place, frozenset())
            ]
        state.forget(result)
        for sub, place in kept:
            state.add(place, (result, sub))
        guarded = "guard" in op.uses
        was_kept = {sub for sub, _ in kept}
        for sub, place in _places(result):
            if start <= sub < start + count:
                whole = into is None or not guarded or sub in was_kept
                state.write(place, frozenset({(result, sub)}) if whole else frozenset())

    def across(
        self, block: Block, state: _State, target: Block, values: Sequence[SSAValue], *, check: bool
    ) -> _State:
        """The state at the start of `target`, coming from the end of `block`."""
        new = state.copy()
        arrived: list[tuple[Place, Part]] = []
        for arg, value in zip(target.args, values, strict=True):
            for sub, place in _places(arg):
                good = isinstance(value.owner, UndefOp) or (value, sub) in state.holds.get(
                    place, frozenset()
                )
                if good:
                    arrived.append((place, (arg, sub)))
                elif check and arg.first_use is not None:
                    held = state.holds.get(place, frozenset())
                    found = ", ".join(sorted({_name(v) for v, _ in held})) or "nothing certain"
                    assert block.last_op is not None
                    self.fail(
                        block.last_op,
                        f"passes {_name(value)} as {_name(arg)} in {place[0]}{place[1]}, "
                        f"which holds {found}",
                    )
        for arg in target.args:
            new.forget(arg)
        for place, part in arrived:
            new.add(place, part)
        return new

    def fail(self, op: Operation, what: str) -> None:
        """Raise the error for `op`."""
        text = " ".join(str(op).split(" : ")[0].split())
        raise DstcError(
            f"kernel {self.kernel.sym_name.data}: `{text}` {what}; "
            "this is a bug in allocate-registers"
        )


def _size(value: SSAValue) -> int:
    return value.type.registers if isinstance(value.type, RegType) else 1


def _place(value: SSAValue, sub: int) -> Place | None:
    """Register of part `sub`; None for RZ and PT, which hold nothing."""
    type_ = value.type
    assert isinstance(type_, RegType | PredType) and type_.assigned is not None
    if isinstance(type_, PredType):
        assert type_.assigned <= NUM_PREDICATES
        return None if type_.assigned == PT else ("P", type_.assigned)
    return None if type_.assigned == RZ else ("R", type_.assigned + sub)


def _places(value: SSAValue) -> Iterator[tuple[int, Place]]:
    for sub in range(_size(value)):
        place = _place(value, sub)
        if place is not None:
            yield sub, place


def _defined(block: Block) -> Iterator[SSAValue]:
    yield from block.args
    for op in block.ops:
        yield from op.results


def _edges(block: Block) -> list[tuple[Block, Sequence[SSAValue]]]:
    match block.last_op:
        case JumpOp() as op:
            return [(op.target, op.values)]
        case BranchOp() as op:
            return [(op.taken, op.taken_values), (op.other, op.other_values)]
        case _:
            return []


def _name(value: SSAValue) -> str:
    if value.name_hint is not None:
        return f"%{value.name_hint}"
    owner = value.owner
    if isinstance(owner, Block):
        return f"a block argument ({value.type})"
    return f"the result of {owner.name} ({value.type})"


def verify_registers(kernel: KernelOp) -> None:
    """Raise `DstcError` unless every read in the allocated `kernel` finds its value."""
    if kernel.registers is None:
        raise DstcError(
            f"kernel {kernel.sym_name.data}: registers are not allocated; "
            "run allocate-registers first"
        )
    _Verifier(kernel, kernel.registers.value.data).run()


@dataclass(frozen=True)
class VerifyRegisters(ModulePass):
    """Check that every register read of allocated kernels finds the value it names."""

    name = "verify-registers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                verify_registers(kernel)

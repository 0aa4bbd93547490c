"""expand-spwmma: for a machine without a sequencer, SPWMMA becomes POPC, BOHMMA and OHMMA.

In: `dstc_isa` kernels on virtual registers, the machine. Out: the same without SPWMMA if the
machine lacks the feature `sequencer`: 16 sets of one BOHMMA and eight OHMMAs each, same bits. Where
a step's vectors start comes from a scan over the lanes of popcounts, shared by all SPWMMAs with the
same bitmaps, and begun some SPWMMAs ahead of the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass

from ..backend.isa.table import INSTRUCTIONS, TILE_K
from ..dialects.dstc_isa import IsaOp, KernelOp, Use
from ..dialects.provenance import locate
from .target_machine import DEFAULT_MACHINE, machine_of

_CHUNKS = tuple(
    (a, b)
    for a in next(m.choices for m in INSTRUCTIONS["OHMMA"].modifiers if m.name == "chunk_a")
    for b in next(m.choices for m in INSTRUCTIONS["OHMMA"].modifiers if m.name == "chunk_b")
)
_AHEAD = 4
"""Sets whose BOHMMA stands before the first OHMMA: so many pass while it computes."""
_DISTANCES = (1, 2, 4, 8)
"""Lanes by which the scan's rounds shift; TILE_K words stand in so many lanes."""
_LOW_OF_A_HIGH_OF_C = 0x7610
"""PRMT's selector."""
_HIGH = 1 << 16
"""B's popcounts are added up in the high half of a word, A's in the low one."""
Bitmap = tuple[SSAValue, int]
"""A register of bitmap words: the value and the register in its group."""


@dataclass(frozen=True)
class ExpandSpwmma(ModulePass):
    """Issue what a sequencer would run."""

    name = "expand-spwmma"
    machine: str = DEFAULT_MACHINE

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if "sequencer" in machine_of(ctx, self.machine).features:
            return
        for kernel in op.walk():
            if isinstance(kernel, KernelOp):
                _expand(kernel)


def _expand(kernel: KernelOp) -> None:
    found = [(block, steps) for block in kernel.body.blocks if (steps := _spwmmas(block))]
    if not found:
        return
    masks = _masks(kernel)
    for block, steps in found:
        starts = _Starts(block, steps, masks).insert()
        for step, start in zip(steps, starts, strict=True):
            _replace(block, step, start)


def _spwmmas(block: Block) -> list[IsaOp]:
    return [op for op in block.ops if isinstance(op, IsaOp) and op.ROW.mnemonic == "SPWMMA"]


def _masks(kernel: KernelOp) -> list[SSAValue]:
    """For each distance, 1 in lanes that have so many lanes of their half below them, else 0."""
    lane = IsaOp.build("S2R", immediates={"sr": "SR_LANE"})
    word = IsaOp.build("LOP", {"a": lane.outs[0]}, modifiers=("AND",), immediates={"b": TILE_K - 1})
    ops = [lane, word]
    masks: list[SSAValue] = []
    for power, _ in enumerate(_DISTANCES):
        shifted = IsaOp.build(
            "SHR", {"a": word.outs[0]}, modifiers=("U32",), immediates={"b": power}
        )
        least = IsaOp.build(
            "IMNMX", {"a": shifted.outs[0]}, modifiers=("MIN", "U32"), immediates={"b": 1}
        )
        ops += [shifted, least]
        masks.append(least.outs[0])
    entry = kernel.body.blocks[0]
    first = entry.first_op
    assert first is not None
    for op in ops:
        locate(op, kernel)
    entry.insert_ops_before(ops, first)
    return masks


@dataclass
class _Scan:
    """The start of each step's vectors in its lane: A's in the low, B's in the high half."""

    a: Bitmap
    b: Bitmap
    first: int
    """The SPWMMA of the block that needs it first."""
    result: SSAValue | None = None
    rounds: list[list[Operation]] = field(default_factory=list[list[Operation]])

    def build(self, masks: Sequence[SSAValue], attributes: dict[str, Attribute]) -> None:
        """The instructions, in rounds: one ends with a SHFL, whose result the next one takes."""
        counts = [IsaOp.build("POPC", {"a": Use(*bitmap)}) for bitmap in (self.a, self.b)]
        both = IsaOp.build(
            "IMAD",
            {"a": counts[1].outs[0], "c": counts[0].outs[0]},
            modifiers=("LO",),
            immediates={"b": _HIGH},
        )
        total = both
        ops: list[Operation] = [*counts, both]
        for mask, distance in zip(masks, _DISTANCES, strict=True):
            below = IsaOp.build(
                "SHFL", {"a": total.outs[0]}, modifiers=("UP",), immediates={"b": distance}
            )
            self.rounds.append([*ops, below])
            total = IsaOp.build(
                "IMAD",
                {"a": below.outs[0], "b": mask, "c": total.outs[0]},
                modifiers=("LO",),
            )
            ops = [total]
        before = IsaOp.build("ISUB", {"a": total.outs[0], "b": both.outs[0]})
        self.rounds.append([*ops, before])
        self.result = before.outs[0]
        for op in (op for ops in self.rounds for op in ops):
            op.attributes.update(attributes)


class _Starts:
    """Where the vectors of a block's SPWMMAs start: scans, and words made of two scans' halves."""

    def __init__(self, block: Block, steps: list[IsaOp], masks: list[SSAValue]):
        self.block, self.steps, self.masks = block, steps, masks
        self.place = {op: i for i, op in enumerate(block.ops)}
        self.bitmaps = [(_bitmap(op, "c"), _bitmap(op, "e")) for op in steps]

    def insert(self) -> list[SSAValue]:
        """The operand e of each SPWMMA's OHMMAs; all instructions are in the block."""
        scans = self._paired()
        scan_of = [{s.a: s for s in scans}, {s.b: s for s in reversed(scans)}]
        for scan in scans:
            scan.build(self.masks, self.steps[scan.first].attributes)
            for op in (op for ops in scan.rounds for op in ops):
                locate(op, self.steps[scan.first])
            self._insert_rounds(scan)
        known: dict[tuple[Bitmap, Bitmap], SSAValue] = {}
        for step, (a, b) in zip(self.steps, self.bitmaps, strict=True):
            if (a, b) in known:
                continue
            low, high = scan_of[0][a].result, scan_of[1][b].result
            assert low is not None and high is not None
            exact = next((s.result for s in scans if (s.a, s.b) == (a, b)), None)
            if exact is None:
                merge = IsaOp.build(
                    "PRMT", {"a": low, "c": high}, immediates={"b": _LOW_OF_A_HIGH_OF_C}
                )
                merge.attributes.update(step.attributes)
                locate(merge, step)
                self.block.insert_op_before(merge, step)
                exact = merge.outs[0]
            known[a, b] = exact
        return [known[pair] for pair in self.bitmaps]

    def _paired(self) -> list[_Scan]:
        """Each bitmap in a scan, two new ones in one scan wherever SPWMMAs close by have them."""
        new: list[list[tuple[Bitmap, int]]] = [[], []]
        for side in range(2):
            seen: set[Bitmap] = set()
            for i, pair in enumerate(self.bitmaps):
                if pair[side] not in seen:
                    seen.add(pair[side])
                    new[side].append((pair[side], i))
        scans: list[_Scan] = []
        for group in _components(self.bitmaps):
            sides = [[x for x in new[side] if x[1] in group] for side in range(2)]
            for n in range(max(map(len, sides))):
                (a, i), (b, j) = (side[min(n, len(side) - 1)] for side in sides)
                repeated = n >= min(map(len, sides))
                first = max(i, j) if repeated else min(i, j)
                scans.append(_Scan(a, b, first))
        return scans

    def _insert_rounds(self, scan: _Scan) -> None:
        """One round before each of the SPWMMAs up to the first that needs it.

        A round waits for the SHFL of the one before; in between stand the OHMMAs of an SPWMMA.
        """
        defined = max(self._defined(scan.a), self._defined(scan.b))
        for number, ops in enumerate(scan.rounds):
            wanted = max(0, scan.first - (len(scan.rounds) - 1 - number))
            while self.place[self.steps[wanted]] < defined and wanted < scan.first:
                wanted += 1
            self.block.insert_ops_before(ops, self.steps[wanted])

    def _defined(self, bitmap: Bitmap) -> int:
        owner = bitmap[0].owner
        return self.place.get(owner, -1) if isinstance(owner, Operation) else -1


def _components(pairs: Sequence[tuple[Bitmap, Bitmap]]) -> list[set[int]]:
    """SPWMMAs by index, those together that share bitmaps with each other: the tiles of a step."""
    groups: list[tuple[set[int], set[tuple[int, Bitmap]]]] = []
    for i, (a, b) in enumerate(pairs):
        own = {(0, a), (1, b)}
        joined = [g for g in groups if g[1] & own]
        merged = {i}.union(*(g[0] for g in joined)), own.union(*(g[1] for g in joined))
        groups = [g for g in groups if g not in joined] + [merged]
    return [members for members, _ in groups]


def _bitmap(op: IsaOp, role: str) -> Bitmap:
    use = op.uses[role]
    return use.value, use.sub


def _replace(block: Block, step: IsaOp, start: SSAValue) -> None:
    """The 16 sets in the place of `step`."""
    sets = list(_sets(step, start))
    ops = [s[0] for s in sets[:_AHEAD]]
    for k, (_, *products) in enumerate(sets):
        ops += [s[0] for s in sets[k + _AHEAD : k + _AHEAD + 1]] + products
    for op in ops:
        op.attributes.update(step.attributes)
        locate(op, step)
        block.insert_op_before(op, step)
    block.erase_op(step)


def _sets(step: IsaOp, start: SSAValue) -> Iterable[list[IsaOp]]:
    """For each k, the BOHMMA and the OHMMAs."""
    uses, chosen = step.uses, step.modifier_choices
    tile = step.immediate_values["acc"]
    guard = {"guard": uses["guard"]} if "guard" in uses else {}
    for k in range(TILE_K):
        at = (f"K{k}", chosen["half_a"], chosen["half_b"])
        positions = IsaOp.build(
            "BOHMMA", {"a": uses["c"], "b": uses["e"]}, modifiers=("32321", *at)
        )
        products = [
            IsaOp.build(
                "OHMMA",
                {"a": uses["a"], "b": uses["b"], "c": positions.outs[0], "e": start, **guard},
                modifiers=("8161", *at, *chunk, chosen["values_a"], chosen["values_b"]),
                immediates={"acc": tile},
            )
            for chunk in _CHUNKS
        ]
        yield [positions, *products]

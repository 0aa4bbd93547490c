"""The interpreter of `dstc_isa` against the simulator: every instruction, every modifier.

In: the instruction table. Out: for each mnemonic a kernel that runs it with each choice of
modifiers on special and random words; both give the same bits.
"""

import itertools

import numpy as np
import pytest
from dstc.backend.allocator import allocate
from dstc.backend.emit import emit_kernel
from dstc.backend.isa.table import INSTRUCTIONS, Kind
from dstc.compiler.check_passes import simulate
from dstc.dialects import dstc_isa as isa
from dstc.dialects.interpreters.isa_machine import IsaMachine
from dstc.dialects.interpreters.isa_ops import SEMANTICS, multiply_add
from dstc.dialects.interpreters.simt_memory import Memory
from dstc.runtime.machine import Machine
from xdsl.dialects.builtin import DenseArrayBase, i64
from xdsl.ir import Block, Region

U32, F32 = np.uint32, np.float32
RNG = np.random.default_rng(5)
SPECIAL = np.array(
    [0, 1, 31, 32, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x3F800000, 0x7F800000, 0xFF800000,
     0x7FC00000, 0xBF800000, 0x00000001, 0x4F000000, 0xCF000000, 0x3C003C00], U32
)  # fmt: skip
FLOATS = RNG.standard_normal(16).astype(F32).view(U32)
LANES = 32
WORDS = [
    np.concatenate([SPECIAL, FLOATS]),
    np.concatenate([RNG.permutation(SPECIAL), RNG.permutation(FLOATS)]),
    np.concatenate([RNG.integers(0, 40, 16).astype(U32), RNG.integers(0, 2**32, 16, U32)]),
]
"""Operands a, b, c of the lanes."""
BY_LANE = sorted(
    m for m, row in INSTRUCTIONS.items()
    if m in SEMANTICS and any(o.write for o in row.operands)
    and all(o.kind in (Kind.REG, Kind.FLEX, Kind.PRED) and o.regs == 1 for o in row.operands)
    and not row.features
)  # fmt: skip
"""Instructions that compute one register or predicate from others."""


def test_every_instruction_has_semantics() -> None:
    assert set(SEMANTICS) == set(isa.OPS)


def kernel_of(mnemonic: str) -> tuple[isa.KernelOp, int]:
    """A kernel that stores the result of each choice of modifiers, each guarded and not."""
    row = INSTRUCTIONS[mnemonic]
    block = Block()
    build = isa.IsaOp.build

    def add(name: str, *args, **keywords):
        op = build(name, *args, **keywords)
        block.add_op(op)
        return op.results[0] if op.results else None

    lane = add("S2R", immediates={"sr": "SR_LANE"})
    own = add("SHL", {"a": lane}, immediates={"b": 2})
    at = add("IADD3", {"a": own}, immediates={"param": 0})
    words = {
        role: add("LDG", {"a": at}, modifiers=["32"], immediates={"offset": 128 * i})
        for i, role in enumerate("abc")
    }
    preds = {
        role: add("ISETP", {"a": words[w]}, modifiers=["LT", "S32"], immediates={"b": 20})
        for role, w in (("pa", "a"), ("pb", "c"), ("guard", "b"))
    }
    count = 0
    written = next(o for o in row.operands if o.write)
    for choice in itertools.product(*(m.choices for m in row.modifiers)):
        for guard in (False, True):
            uses = {
                o.role: preds[o.role] if o.kind == Kind.PRED else words[o.role]
                for o in row.operands if not o.write
            }  # fmt: skip
            if guard:
                uses["guard"] = preds["guard"]
                uses["into"] = preds["pb"] if written.kind == Kind.PRED else words["c"]
            result = add(mnemonic, uses, modifiers=choice)
            if written.kind == Kind.PRED:
                result = add("SEL", {"pa": result, "a": own, "b": lane})
            to = add("IADD3", {"a": own}, immediates={"param": 1})
            add("STG", {"a": to, "b": result}, modifiers=["32"], immediates={"offset": 128 * count})
            count += 1
    block.add_op(isa.ExitOp())
    kernel = isa.KernelOp("k", ["x", "y"], Region(block), warps=1, shared_bytes=0, acc_tiles=0)
    kernel.attributes["grid"] = DenseArrayBase.from_list(i64, [1, 1, 1])
    kernel.verify()
    return kernel, count


@pytest.mark.parametrize("mnemonic", BY_LANE)
def test_against_the_simulator(mnemonic: str) -> None:
    kernel, count = kernel_of(mnemonic)
    results = []
    for allocated in (False, True):
        memory = Memory.device([384, 128 * count])
        starts = [start for start, _ in memory.extents]
        memory.bytes[starts[0] : starts[0] + 384] = np.concatenate(WORDS).view(np.uint8)
        if allocated:
            allocate(kernel)
            known = [np.ones(end - start, np.bool_) for start, end in memory.extents]
            simulate(Machine.load("dstc"))(kernel, memory, starts, known)
        else:
            IsaMachine(kernel, memory).run(starts)
        found = memory.bytes[starts[1] : starts[1] + 128 * count]
        results.append(found.view(U32).reshape(count, LANES))
    ours, theirs = results
    numbers = ours.view(F32), theirs.view(F32)
    same = (ours == theirs) | (np.isnan(numbers[0]) & np.isnan(numbers[1]))
    assert same.all(), (mnemonic, np.argwhere(~same)[:4], ours[~same][:4], theirs[~same][:4])
    assert emit_kernel(kernel).name == "k"


def test_multiply_add_rounds_once() -> None:
    from fractions import Fraction

    a, b = (RNG.standard_normal(4000).astype(F32) for _ in range(2))
    c = (-(a.astype(np.float64) * b)).astype(F32) * (1 + RNG.integers(-2, 3, 4000)).astype(F32)
    c[::2] = RNG.standard_normal(2000).astype(F32) * F32(2.0**-20)
    got = multiply_add(a, b, c)
    for x, y, z, r in zip(a.tolist(), b.tolist(), c.tolist(), got.tolist(), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        near = (np.nextafter(F32(r), F32(np.inf)), np.nextafter(F32(r), F32(-np.inf)))
        assert all(abs(Fraction(float(n)) - exact) >= abs(Fraction(r) - exact) for n in near)

"""Register allocation: what it promises, by examples, random programs and corruptions of them."""

from __future__ import annotations

import random

import pytest
from dstc.backend.allocator import allocate, set_type
from dstc.backend.cfg import Flow
from dstc.backend.emit import emit_kernel
from dstc.backend.isa.errors import DstcError
from dstc.backend.parallel_copy import parallel_copy
from dstc.dialects.dstc_isa import (
    ExitOp,
    IsaOp,
    JumpOp,
    KernelOp,
    PredType,
    RegType,
    UndefOp,
    Use,
)
from dstc.passes.verify_registers import verify_registers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue

from .gemm_like import gemm_like
from .isa_text import parsed
from .random_kernels import agree, instructions, random_kernel, run_code, run_ir

SEEDS = st.integers(0, 1 << 32)
FEW = settings(max_examples=40)


def names(kernel: KernelOp) -> list[str]:
    return [op.name.removeprefix("dstc_isa.") for op in instructions(kernel)]


def allocated(seed: int) -> KernelOp:
    kernel = random_kernel(seed)
    try:
        allocate(kernel)
    except DstcError as error:
        assume("predicates" not in str(error))
        raise
    kernel.verify()
    return kernel


@FEW
@given(SEEDS)
def test_random_programs_do_the_same_before_and_after(seed: int) -> None:
    before = [run_ir(random_kernel(seed), lane) for lane in range(4)]
    kernel = allocated(seed)
    verify_registers(kernel)
    code = emit_kernel(kernel)
    code.validate()
    for lane, stores in enumerate(before):
        assert agree(stores, run_ir(kernel, lane))
        assert agree(stores, run_code(code, lane, seed))


@FEW
@given(SEEDS, st.integers(0, 255))
def test_a_corrupted_program_is_rejected_or_does_the_same(seed: int, salt: int) -> None:
    kernel = allocated(seed)
    before = [run_ir(kernel, lane) for lane in range(4)]
    rng = random.Random(salt)
    values = [r for op in instructions(kernel) for r in op.results]
    values = [v for v in values if isinstance(v.type, RegType) and v.first_use is not None]
    victim = rng.choice(values)
    size = victim.type.registers
    limit = kernel.registers.value.data
    assume(limit >= size)
    at = rng.randrange(0, limit - size + 1) // min(4, size) * min(4, size)
    set_type(victim, RegType.of(size, at))
    try:
        verify_registers(kernel)
    except DstcError as error:
        assert "\n" not in str(error)
        return
    code = emit_kernel(kernel)  # the verifier found nothing: then nothing is wrong
    for lane, stores in enumerate(before):
        assert agree(stores, run_code(code, lane))


def test_corruptions_are_caught() -> None:
    """Most random corruptions matter; the verifier must see them."""
    caught = 0
    for seed in range(12):
        kernel = random_kernel(seed)
        allocate(kernel)
        live = [
            op.results[0]
            for op in instructions(kernel)
            if isinstance(op, IsaOp) and op.results and op.results[0].first_use is not None
            and isinstance(op.results[0].type, RegType)
            and any(isinstance(use.operation, IsaOp) for use in op.results[0].uses)
        ]  # fmt: skip
        for value in live:
            old = value.type
            new = (old.assigned + 8) % 200 // 4 * 4
            set_type(value, RegType.of(old.registers, new))
            try:
                verify_registers(kernel)
            except DstcError:
                caught += 1
            set_type(value, old)
        verify_registers(kernel)
    assert caught > 100


def test_swapped_registers_are_named() -> None:
    kernel = parsed(
        """
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1>
  %b = dstc_isa.mov b(2) : () -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%a), b(%b) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit"""
    )
    allocate(kernel)
    first, second = (op.results[0] for op in instructions(kernel)[:2])
    set_type(second, first.type)
    with pytest.raises(DstcError, match=r"stg.* reads %a from R0, which holds %b"):
        verify_registers(kernel)


def test_accumulators_stay_put_in_a_loop() -> None:
    kernel = gemm_like(accumulators=64, steps=4)
    allocate(kernel)
    verify_registers(kernel)
    loop = kernel.body.blocks[1]
    assert [op.name for op in loop.ops].count("dstc_isa.mov") == 0
    assert kernel.registers.value.data <= 200
    assert len(kernel.body.blocks) == 3  # no block for copies on the back edge


def test_a_register_limit_is_kept_and_its_excess_reported() -> None:
    kernel = gemm_like(accumulators=16, steps=2, fragments=8)
    needed = kernel.clone()
    allocate(needed)
    used = needed.registers.value.data
    allocate(kernel.clone(), max_registers=used)
    with pytest.raises(DstcError) as caught:
        allocate(kernel.clone(), max_registers=40)
    message = str(caught.value)
    assert message.startswith("kernel gemm_like: needs ")
    assert "the limit is 40; use a smaller warp tile" in message
    assert "most are live at `" in message
    assert "\n" not in message


def test_too_many_predicates() -> None:
    lines = [f"%p{i} = dstc_isa.isetp<LT.U32> b({i}) : () -> !dstc_isa.pred" for i in range(8)] + [
        f"dstc_isa.stg<32> b(%z), guard(%p{i}) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> ()"
        for i in range(8)
    ]
    kernel = parsed(
        "%z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>\n" + "\n".join(lines) + "\ndstc_isa.exit"
    )
    with pytest.raises(DstcError, match=r"needs 8 predicates .* limit is 7; keep fewer conditions"):
        allocate(kernel)


@pytest.mark.parametrize("limit", [0, 256])
def test_limit_out_of_range(limit: int) -> None:
    with pytest.raises(DstcError, match="max-registers must be 1 to 255"):
        allocate(random_kernel(0), limit)


def test_twice_is_an_error() -> None:
    kernel = random_kernel(1)
    allocate(kernel)
    with pytest.raises(DstcError, match="allocated already"):
        allocate(kernel)


def test_unallocated_cannot_be_verified() -> None:
    with pytest.raises(DstcError, match="run allocate-registers first"):
        verify_registers(random_kernel(1))


def test_a_value_needed_after_into_is_copied() -> None:
    kernel = parsed(
        """
  %g = dstc_isa.ldg<64> : () -> !dstc_isa.reg<2>
  %h = dstc_isa.mov b(7), into(%g[1]) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  dstc_isa.stg<64> b(%g) : (!dstc_isa.reg<2>) -> ()
  dstc_isa.stg<64> b(%h) : (!dstc_isa.reg<2>) -> ()
  dstc_isa.exit"""
    )
    allocate(kernel)
    verify_registers(kernel)
    assert names(kernel) == ["ldg", "undef", "mov", "mov", "stg", "stg", "exit"]


def test_a_swap_round_a_loop_is_exact() -> None:
    kernel = parsed(
        """
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1>
  %b = dstc_isa.mov b(2) : () -> !dstc_isa.reg<1>
  %n = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%a, %b, %n : !dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.reg<1>)
^l(%x: !dstc_isa.reg<1>, %y: !dstc_isa.reg<1>, %i: !dstc_isa.reg<1>):
  dstc_isa.stg<32> a(%x), b(%y) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  %j = dstc_isa.iadd3 a(%i), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%j), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^t, ^e
^t:
  dstc_isa.jump ^l(%y, %x, %j : !dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.reg<1>)
^e:
  dstc_isa.exit"""
    )
    before = run_ir(kernel, 0)
    assert before == [(1, 2), (2, 1), (1, 2)]
    allocate(kernel)
    verify_registers(kernel)
    assert run_code(emit_kernel(kernel), 0) == before


@FEW
@given(st.data())
def test_parallel_copies(data: st.DataObject) -> None:
    """Any mapping of groups to groups, cycles included, moves every word."""
    rng = random.Random(data.draw(SEEDS))
    block = Block()
    sources: list[SSAValue] = []
    at = 0
    while at < 16:
        size = rng.choice((1, 2, 4))
        at = -(-at // size) * size
        op = UndefOp(RegType.of(size, at))
        block.add_op(op)
        sources.append(op.out)
        at += size
    for i in range(4):
        op = UndefOp(PredType.of(i))
        block.add_op(op)
        sources.append(op.out)
    picked: list[SSAValue] = []
    targets = [v.type for v in sources if rng.random() < 0.8]
    for target in targets:
        picked.append(rng.choice([v for v in sources if type(v.type) is type(target) and
                                  size_of(v.type) == size_of(target)]))  # fmt: skip
    ops, results = parallel_copy(targets, picked)
    assert [v.type for v in results] == targets
    regs = {("R", i): f"R{i}" for i in range(24)} | {("P", i): f"P{i}" for i in range(7)}
    want = dict(regs)
    for target, source in zip(targets, picked, strict=True):
        for to, where in zip(places(target), places(source.type), strict=True):
            want[to] = regs[where]
    now = {place: frozenset([name]) for place, name in regs.items()}
    for op in ops:
        if isinstance(op, UndefOp):
            continue
        assert isinstance(op, IsaOp)
        read = [now[places(u.value.type)[u.sub]] for r, u in op.uses.items() if r != "into"]
        into = op.uses.get("into")
        place = places(op.outs[0].type)[0 if into is None else into.sub]
        now[place] = read[0] ^ read[1] if len(read) == 2 else read[0]
    changed = {p for t in targets for p in places(t)}
    assert all(now[p] == {want[p]} for p in changed)
    assert all(now[p] == {n} for p, n in regs.items() if p not in changed)


def size_of(type_: RegType | PredType) -> int:
    return type_.registers if isinstance(type_, RegType) else 1


def places(type_: RegType | PredType) -> list[tuple[str, int]]:
    kind = "R" if isinstance(type_, RegType) else "P"
    return [(kind, type_.assigned + i) for i in range(size_of(type_))]


@FEW
@given(SEEDS)
def test_loops_and_dominators(seed: int) -> None:
    flow = Flow.of(random_kernel(seed))
    for header, body in flow.loops.items():
        assert all(flow.dominates(header, block) for block in body)
    assert flow.depth[0] == 0


def test_unreachable_blocks_go() -> None:
    dead, end = Block(), Block([ExitOp()])
    value = IsaOp.build("MOV", immediates={"b": 1})
    dead.add_ops([value, IsaOp.build("STG", {"a": value.outs[0], "b": Use(value.outs[0])},
                                     modifiers=["32"]), JumpOp(end)])  # fmt: skip
    kernel = KernelOp(
        "k", [], Region([Block([JumpOp(end)]), dead, end]), warps=1, shared_bytes=0, acc_tiles=0
    )
    ModuleOp([kernel])
    allocate(kernel)
    verify_registers(kernel)
    assert names(kernel)[-1] == "exit"
    assert "stg" not in names(kernel)


def test_one_undefined_value_serves_many_groups() -> None:
    kernel = parsed(
        """
  %u = dstc_isa.undef : !dstc_isa.reg<2>
  %a = dstc_isa.mov b(1), into(%u) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %b = dstc_isa.mov b(2), into(%u) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %c = dstc_isa.mov b(3), into(%a[1]) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  dstc_isa.stg<64> b(%c) : (!dstc_isa.reg<2>) -> ()
  dstc_isa.stg<64> b(%b) : (!dstc_isa.reg<2>) -> ()
  dstc_isa.exit"""
    )
    allocate(kernel)
    verify_registers(kernel)
    assert names(kernel).count("mov") == 3


def _is(op: Operation, mnemonic: str) -> bool:
    return isinstance(op, IsaOp) and op.ROW.mnemonic == mnemonic


def test_results_that_nothing_needs_are_dropped_by_the_hardware() -> None:
    kernel = parsed(
        """
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1>
  %old = dstc_isa.atom<ADD.U32> b(%a) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit"""
    )
    allocate(kernel)
    atom = next(op for op in instructions(kernel) if _is(op, "ATOM"))
    assert str(atom.results[0].type) == "!dstc_isa.reg<1, RZ>"

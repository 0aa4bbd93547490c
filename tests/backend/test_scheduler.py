"""Instruction scheduling: dependences kept, latencies hidden, registers within bounds."""

from __future__ import annotations

from dataclasses import replace

from dstc.backend.allocator import allocate
from dstc.backend.scheduler import schedule
from dstc.dialects.dstc_isa import IsaOp
from dstc.passes.eliminate_dead_instructions import eliminate
from dstc.passes.schedule_instructions import latencies_of
from dstc.runtime.machine import Machine
from hypothesis import given, settings
from hypothesis import strategies as st

from .gemm_like import gemm_like
from .isa_text import parsed
from .random_kernels import agree, instructions, random_kernel, run_ir

V100 = latencies_of(Machine.load("v100"))


def order(body: str, **options: int) -> list[str]:
    """Mnemonics of `body` after scheduling, with the immediate b or the offset."""
    kernel = parsed(body)
    schedule(kernel, replace(V100, **options))
    kernel.verify()
    shown: list[str] = []
    for op in instructions(kernel):
        imms = op.immediate_values if isinstance(op, IsaOp) else {}
        number = imms.get("b", imms.get("offset", imms.get("acc", "")))
        shown.append(f"{op.name.removeprefix('dstc_isa.')}{number}")
    return shown


@settings(max_examples=40)
@given(st.integers(0, 1 << 32), st.sampled_from([2, 20, 200]))
def test_random_programs_do_the_same(seed: int, pressure: int) -> None:
    kernel = random_kernel(seed)
    before = [run_ir(kernel, lane) for lane in range(4)]
    eliminate(kernel)
    kernel.verify()
    schedule(kernel, replace(V100, pressure=pressure))
    kernel.verify()
    assert all(agree(stores, run_ir(kernel, lane)) for lane, stores in enumerate(before))


def test_the_same_order_every_time() -> None:
    first, second = random_kernel(3, 200), random_kernel(3, 200)
    schedule(first, V100)
    schedule(second, V100)
    assert str(first) == str(second)


def test_loads_come_first_and_their_uses_last() -> None:
    body = """
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1>
  %b = dstc_isa.iadd3 a(%a), b(2) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %l = dstc_isa.ldg<32> a(%a + 9) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %c = dstc_isa.iadd3 a(%l), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %d = dstc_isa.iadd3 a(%b), b(4) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%d), b(%c) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit"""
    assert order(body) == ["mov1", "ldg9", "iadd32", "iadd34", "iadd33", "stg", "exit"]


def test_memory_order() -> None:
    """A space's stores and loads stay in order; loads pass loads, spaces pass each other."""
    body = """
  %a = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>
  dstc_isa.sts<32> a(%a + 1), b(%a) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  %l = dstc_isa.lds<32> a(%a + 2) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %g = dstc_isa.ldg<32> a(%a + 3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.sts<32> a(%a + 4), b(%g) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.bar<SYNC> : () -> ()
  %m = dstc_isa.lds<32> a(%a + 5) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%l), b(%m) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit"""
    assert order(body) == [
        "s2r", "ldg3", "sts1", "lds2", "sts4", "bar", "lds5", "stg", "exit",
    ]  # fmt: skip


def test_the_clock_and_regions_are_fences() -> None:
    body = """
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1>
  %t = dstc_isa.s2r sr(SR_CLOCK) : () -> !dstc_isa.reg<1>
  %l = dstc_isa.ldg<32> : () -> !dstc_isa.reg<1>
  dstc_isa.bssy : () -> ()
  %m = dstc_isa.ldg<32> : () -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%a), b(%t) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.stg<32> a(%l), b(%m) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit"""
    assert order(body) == ["mov1", "s2r", "ldg", "bssy", "ldg", "stg", "stg", "exit"]


def test_accumulation_tiles_keep_their_order() -> None:
    body = """
  dstc_isa.aclr acc(0) : () -> ()
  %a = dstc_isa.ard<P0._> acc(0) : () -> !dstc_isa.reg<8>
  dstc_isa.awr<P1._> a(%a), acc(0) : (!dstc_isa.reg<8>) -> ()
  %b = dstc_isa.ard<P1._> acc(0) : () -> !dstc_isa.reg<8>
  dstc_isa.stg<128> b(%b) : (!dstc_isa.reg<8>) -> ()
  dstc_isa.exit"""
    assert order(body) == ["aclr0", "ard0", "awr0", "ard0", "stg", "exit"]


def test_a_counter_is_stepped_after_its_last_reader() -> None:
    """Else the loop would need a copy for the old value."""
    body = """
  %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%z : !dstc_isa.reg<1>)
^l(%i: !dstc_isa.reg<1>):
  %x = dstc_isa.mufu<RCP> a(%z) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%i), b(%x) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  %j = dstc_isa.iadd3 a(%i), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%j), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^l(%j : !dstc_isa.reg<1>), ^e
^e:
  dstc_isa.exit"""
    kernel = parsed(body)
    schedule(kernel, V100)
    allocate(kernel)
    assert "dstc_isa.mov" not in [op.name for op in kernel.body.blocks[1].ops]


def test_loads_overlap_even_where_one_more_would_not_fit() -> None:
    """The last op hoisted goes beyond the limit: then fewer are, not none."""
    one, four = "!dstc_isa.reg<1>", "!dstc_isa.reg<4>"
    body = f"%a = dstc_isa.mov b(1) : () -> {one}\n%s0 = dstc_isa.mov b(2) : () -> {one}\n"
    for i in range(4):
        body += (
            f"%l{i} = dstc_isa.ldg<128> a(%a + {16 * i}) : ({one}) -> {four}\n"
            f"%s{i + 1} = dstc_isa.iadd3 a(%s{i}), b({i}), c(%l{i}) : ({one}, {four}) -> {one}\n"
        )
    body += f"dstc_isa.stg<32> a(%a), b(%s4) : ({one}, {one}) -> ()\ndstc_isa.exit"
    got = order(body, pressure=16)
    assert got.index("ldg16") < got.index("iadd30")


def test_pressure_is_bounded() -> None:
    """Hoisting stops at the cap: the schedule needs at most a little more than the cap."""
    load = "%v{0} = dstc_isa.ldg<128> offset({0}) : () -> !dstc_isa.reg<4>"
    store = "dstc_isa.sts<128> b(%v{0}) : (!dstc_isa.reg<4>) -> ()"
    body = "\n".join(f"{load}\n{store}".format(i) for i in range(40)) + "\ndstc_isa.exit"
    needed: dict[int, int] = {}
    for pressure in (200, 40):
        kernel = parsed(body)
        schedule(kernel, replace(V100, pressure=pressure))
        allocate(kernel)
        needed[pressure] = kernel.registers.value.data
    assert needed[40] <= 44
    assert 150 <= needed[200] <= 204


def test_accumulators_do_not_move_after_scheduling() -> None:
    kernel = gemm_like(accumulators=64, steps=4)
    schedule(kernel, V100)
    allocate(kernel)
    loop = kernel.body.blocks[1]
    assert [op.name for op in loop.ops].count("dstc_isa.mov") == 0
    assert kernel.registers.value.data <= 210


def test_dead_instructions_and_arguments_go() -> None:
    kernel = parsed(
        """
  %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  %l = dstc_isa.ldg<32> a(%z) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%z, %l : !dstc_isa.reg<1>, !dstc_isa.reg<1>)
^l(%i: !dstc_isa.reg<1>, %dead: !dstc_isa.reg<1>):
  %more = dstc_isa.iadd3 a(%dead), b(7) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %j = dstc_isa.iadd3 a(%i), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%j), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^t, ^e
^t:
  dstc_isa.jump ^l(%j, %more : !dstc_isa.reg<1>, !dstc_isa.reg<1>)
^e:
  %old = dstc_isa.atom<ADD.U32> b(%j) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit"""
    )
    eliminate(kernel)
    kernel.verify()
    left = [op.name.removeprefix("dstc_isa.") for op in instructions(kernel)]
    assert left == ["mov", "jump", "iadd3", "isetp", "branch", "jump", "atom", "exit"]
    assert len(kernel.body.blocks[1].args) == 1


def test_predicates_are_not_hoisted_beyond_what_there_is() -> None:
    lines = ["%a = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>"]
    for i in range(20):
        lines += [
            f"%p{i} = dstc_isa.isetp<LT.U32> a(%a), b({i}) : (!dstc_isa.reg<1>) -> !dstc_isa.pred",
            f"dstc_isa.stg<32> b(%a), guard(%p{i}) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> ()",
        ]
    kernel = parsed("\n".join([*lines, "dstc_isa.exit"]))
    schedule(kernel, V100)
    allocate(kernel)

"""The memory plan: nothing that is needed is overwritten, what must be zero is, space is shared."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from dstc.backend.isa.layout import BitmapLayout, DenseLayout
from dstc.backend.isa.program import Buffer, Launch, Plan, Port
from dstc.compiler.memory_plan import MemoryUse, lives, place, plan_memory
from dstc.runtime.memory import Memory
from hypothesis import given, settings
from hypothesis import strategies as st

shapes = st.one_of(
    st.tuples(st.integers(1, 70), st.integers(1, 90)),
    st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 40)),
)


def buffer(name: str, shape: tuple[int, ...], dtype: str = "f16") -> Buffer:
    size = DenseLayout.of(shape, 2 if dtype == "f16" else 4).bytes
    return Buffer(name, "temporary", shape, dtype, size)


def chain(sizes: list[tuple[int, ...]], reads: list[int]) -> Plan:
    """Step i makes buffer i from buffer i - 1 - reads[i]."""
    plan = Plan("m", "dstc", [buffer(f"t{i}", s) for i, s in enumerate(sizes)])
    for i in range(len(sizes)):
        source = max(i - 1 - reads[i], 0)
        args = (f"t{source}", f"t{i}") if i else ("t0",)
        plan.steps.append(Launch("k", f"s{i}", "relu", "", (), (1, 1, 1), args))
    plan.outputs.append(Port("y", sizes[-1], "float16", f"t{len(sizes) - 1}"))
    return plan


@settings(max_examples=100)
@given(st.lists(st.tuples(shapes, st.integers(0, 3)), min_size=1, max_size=14))
def test_nothing_that_is_needed_is_overwritten(nodes):
    plan = chain([s for s, _ in nodes], [r for _, r in nodes])
    use = plan_memory(plan)
    assert use.planned <= use.naive and plan.arena == use.planned
    written = np.zeros(plan.arena, np.int64)  # by whom, 0 for nobody
    for i, b in enumerate(plan.buffers):
        at = DenseLayout.of(b.shape, 2)
        assert b.offset is not None and b.offset % 256 == 0
        rows = written[b.offset : b.offset + b.bytes].reshape(at.padded_rows, -1)
        # padding that must be zero was never written
        assert not rows[at.rows :].any() and not rows[:, 2 * at.columns :].any()
        first, last = plan.lives()[b.name]
        for other in plan.buffers[:i]:
            span = plan.lives()[other.name]
            if span[1] >= first and span[0] <= last:
                assert other.offset is not None
                apart = other.offset + other.bytes <= b.offset or b.offset + b.bytes <= other.offset
                assert apart
        rows[: at.rows, : 2 * at.columns] = i + 1


def test_a_chain_takes_two_places():
    plan = chain([(4, 8, 64)] * 10, [0] * 10)
    assert plan_memory(plan).planned == 2 * lives(plan)[0].size


def test_matrices_of_one_layout_share_padding():
    plan = chain([(40, 50)] * 10, [0] * 10)
    assert plan_memory(plan).planned == 2 * lives(plan)[0].size


def test_bitmaps_overlap_but_for_their_first_level():
    """Each begins a little below the one before."""
    plan = chain([(256, 512)] * 6, [0] * 6)
    layout = BitmapLayout(256, 512)
    for b in plan.buffers:
        b.dtype, b.bytes = "bitmap", layout.slot_bytes
        b.bitmap = {**asdict(layout), "side": "a"}
    use = plan_memory(plan)
    size = lives(plan)[0].size
    assert 2 * size <= use.planned < 2.2 * size
    found = lives(plan)
    for i, life in enumerate(found):
        start = life.buffer.offset or 0
        for earlier in found[:i]:
            at = earlier.buffer.offset or 0
            assert at >= start + life.zeros or at + earlier.size <= start


def test_counters_begin_where_nothing_was():
    plan = chain([(4, 8, 64)] * 6, [0] * 6)
    plan.buffers[4].dtype = "u32"
    offsets, size = place(lives(plan)), plan.buffers[4].bytes
    assert all(abs(offsets["t4"] - offsets[f"t{i}"]) >= size for i in range(4))
    assert MemoryUse.of(plan).naive == 6 * lives(plan)[0].size


def test_pieces_of_an_arena_are_valid_one_after_the_other():
    memory = Memory(track=True)
    base = memory.allocate(4096)
    other = memory.allocate(16)
    memory.carve(base, {0: 512, 1024: 256})
    memory.mark(base, np.ones(512, np.bool_))
    memory.check(base + 100, 400)
    starts, ends = memory.intervals()
    assert list(starts) == [base, base + 1024, other] and ends[0] == base + 512
    memory.carve(base, {0: 512, 768: 64})
    assert memory.written[base] == 1 and memory.written[base + 768] == 0
    memory.free(base)
    assert list(memory.intervals()[0]) == [other]

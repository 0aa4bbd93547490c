"""expand-spwmma: products on a machine without a sequencer have the bits of those with one.

In: random sizes, densities, zero patterns, tiles and front ends. Out: equal results and equal
OHMMAs; what a machine without a sequencer refuses; slots as `cost_issue` counts them.
"""

from __future__ import annotations

import pytest
from dstc.backend.isa.assembler import assemble
from dstc.backend.isa.disassembler import disassemble_kernel
from dstc.backend.isa.errors import DstcError
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.cost_issue import STEP_OHMMAS, STEP_OTHERS, squash_of, step_slots
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine
from hypothesis import given, settings
from hypothesis import strategies as st

DENSITY = st.sampled_from((0.0, 0.03, 0.1, 0.5, 0.9, 1.0))
TILES = (
    ((32, 32), (32, 32), 8),
    ((64, 64), (32, 32), 3),
    ((64, 64), (32, 64), 4),
    ((64, 64), (64, 32), 2),
    ((64, 64), (64, 64), 2),
    ((64, 128), (64, 64), 4),
)


@settings(max_examples=6, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(1, n) for n in (150, 150, 200))),
    densities=st.tuples(DENSITY, DENSITY),
    pattern=st.sampled_from(("random", "block")),
    tiles=st.sampled_from(TILES),
    swap=st.booleans(),
    squash=st.sampled_from((0, 1, 8)),
)
def test_same_bits_and_products_as_with_a_sequencer(sizes, densities, pattern, tiles, swap, squash):
    gemm = Gemm(*sizes, *densities, pattern, out="f16")
    schedule = ScheduleAttr.of(Engine.DUAL, *tiles, swap=swap)
    machine = Machine.load("dstc-strict", {"ohmma.squash_per_cycle": squash})
    strict = run_gemm(gemm, machine=machine, schedule=schedule, checks="full")
    assert strict["bit_exact"]
    with_one = run_gemm(gemm, machine="dstc", schedule=schedule, check=False)
    for name in ("ohmma_issued", "ohmma_skipped"):
        assert strict["counters"][name] == with_one["counters"][name]


def test_a_machine_without_a_sequencer_refuses_spwmma():
    text = ".kernel k\n.acc 1\nSPWMMA.323216.ALO.BLO ACC0, R8, R16, R24, R25 ;\nEXIT ;\n.end"
    (kernel,) = assemble(text).kernels.values()
    with pytest.raises(
        DstcError,
        match="instruction 0: SPWMMA belongs to the sequenced dual",
    ):
        Device("dstc-strict").launch(kernel, (1, 1, 1), [])


def test_a_scan_is_shared_by_the_tiles_of_a_step():
    """64x64 warp tiles: two scans and two words put together for four SPWMMAs, at each step."""
    schedule = ScheduleAttr.of(Engine.DUAL, (64, 64), (64, 64), 2)
    gemm, steps = Gemm(64, 64, 48, 0.5, 0.5), 3
    compiled, _ = compile_gemm(gemm, Machine.load("dstc-strict"), schedule=schedule)
    (kernel,) = compiled.program.kernels.values()
    lines = [line.split() for line in disassemble_kernel(kernel).splitlines()]
    found = [line[0].split(".")[0] for line in lines if line]
    for mnemonic, number in {"SPWMMA": 0, "BOHMMA": 4 * 16, "OHMMA": 4 * 128}.items():
        assert found.count(mnemonic) == number * steps, mnemonic
    # a scan may serve the two steps whose bitmaps come together
    assert found.count("POPC") in (8, 12) and found.count("SHFL") == 2 * found.count("POPC")


def test_slots_of_a_step():
    strict = Machine.load("dstc-strict")
    assert squash_of(Machine.load("dstc")) is None and squash_of(Machine.load("v100")) is None
    assert step_slots(40, 1, None) == 40
    assert step_slots(40, 1, squash_of(strict)) == STEP_OHMMAS + STEP_OTHERS
    assert step_slots(40, 1, 8) == 40 + STEP_OTHERS
    assert 40 + STEP_OTHERS < step_slots(40, 1, 1) < STEP_OHMMAS + STEP_OTHERS

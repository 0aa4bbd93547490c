"""The n:m engine from IR to cycles: bit for bit numpy's, on random sizes, forms, sides and tiles.

In: generated operands, one of them pruned to 2:4 or 4:16. Out: equal bits; refusals in one line.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm
from dstc.compiler.cli.main import main
from dstc.dialects.dstc import ScheduleAttr
from dstc.dialects.interpreters.dstc import matmul_f32
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine
from dstc.runtime.nm_format import PATTERNS
from hypothesis import given, settings
from hypothesis import strategies as st

TILES = [
    (cta, warp)
    for cta in ((64, 64), (128, 64), (64, 128), (128, 128))
    for warp in ((64, 64), (32, 64), (64, 32), (32, 32))
]
sizes = st.sampled_from((1, 7, 31, 32, 33, 64, 100, 130, 200))
products = st.builds(
    Gemm,
    m=sizes,
    n=sizes,
    k=st.sampled_from((1, 5, 16, 32, 33, 64, 96, 97, 160, 300)),
    a_density=st.sampled_from((0.3, 1.0)),
    b_density=st.sampled_from((0.3, 1.0)),
    pattern=st.sampled_from(list(map(str, PATTERNS))),
    pattern_side=st.sampled_from("ab"),
    trans_a=st.booleans(),
    trans_b=st.booleans(),
    out=st.sampled_from(("f16", "f32")),
    seed=st.integers(0, 99),
)


@settings(max_examples=24, deadline=None)
@given(products, st.sampled_from(TILES), st.sampled_from(("functional", "cycle")))
def test_random_products_have_numpys_bits(gemm, tiles, mode):
    schedule = ScheduleAttr.of("nm", *tiles, 2, swap=gemm.pattern_side == "b")
    row = run_gemm(gemm, machine="v100-nm", schedule=schedule, mode=mode, checks="full")
    assert row["bit_exact"] and row["engine"] == "nm"


@pytest.mark.parametrize("side", ["a", "b"])
def test_registers_suffice_where_a_tile_reaches_far_beyond_the_operands(side):
    out = side == "a"
    gemm = Gemm(1, 1, 160, pattern="4:16", pattern_side=side, trans_a=out, trans_b=out, out="f16")
    schedule = ScheduleAttr.of("nm", (128, 64) if out else (64, 128), (64, 64), 2, swap=not out)
    row = run_gemm(gemm, machine="v100-nm", schedule=schedule, mode="functional")
    assert row["bit_exact"]


@pytest.mark.parametrize("pattern", list(map(str, PATTERNS)))
def test_the_compiler_chooses_tiles_and_the_estimate_is_near(pattern):
    gemm = Gemm(640, 512, 1024, pattern=pattern, out="f16")
    row = run_gemm(gemm, machine="v100-nm", engine="nm")
    assert row["bit_exact"] and row["counters"]["hmma_sp"] > 0 and row["counters"]["hmma"] == 0
    for value in row["bounds"].values():
        assert value is None or value <= row["cycles"]
    estimate = run_gemm(gemm, machine="v100-nm", engine="nm", mode="estimate")
    assert estimate["schedule"] == row["schedule"]
    assert abs(estimate["cycles"] / row["cycles"] - 1) < 0.25


def test_both_engines_of_a_machine_take_the_same_product():
    gemm = Gemm(64, 64, 64, 0.5, 0.5, pattern="2:4", pattern_side="b")
    for engine in ("nm", "dual", "dense"):
        assert run_gemm(gemm, machine="dstc-nm", engine=engine)["bit_exact"]


@pytest.mark.parametrize("side", ["a", "b"])
def test_infinities_and_nan_meet_no_zero_of_the_sparse_operand(side):
    gemm = Gemm(64, 64, 64, pattern="2:4", pattern_side=side)
    compiled, _ = compile_gemm(gemm, Machine.load("v100-nm"), "nm")
    a, b = gemm.operands()
    sparse, dense = (a, b) if side == "a" else (b, a)
    dense[3, 5], dense[40, 2], dense[7, 7] = np.inf, np.nan, -0.0
    place = tuple(np.argwhere(sparse != 0)[10])
    sparse[place] = np.nan
    got = compiled.run({"arg0": a, "arg1": b}, device=Device("v100-nm")).outputs["out0"]
    want = matmul_f32(a, b, skip_zeros=side)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    assert np.array_equal(got[~np.isnan(got)], want[~np.isnan(want)])
    assert np.isnan(matmul_f32(a, b)).sum() > np.isnan(want).sum()


def test_an_operand_that_is_not_n_m_is_refused():
    gemm = Gemm(64, 64, 64, pattern="2:4")
    compiled, _ = compile_gemm(gemm, Machine.load("v100-nm"), "nm")
    a, b = gemm.operands()
    a[5, 8:11] = 1
    with pytest.raises(DstcError, match=r"not 2:4: row 5, columns 8 to 11: [34] non-zeros"):
        compiled.run({"arg0": a, "arg1": b}, device=Device("v100-nm"))


def test_refusals_of_products(capsys):
    product = ["bench", "gemm", "-m", "32", "-n", "32", "-k", "32", "--engine", "nm"]
    assert main([*product, "--machine", "v100-nm"]) == 2
    assert "neither operand is known to be n:m sparse" in capsys.readouterr().err
    assert main([*product, "--machine", "dstc"]) == 2
    error = capsys.readouterr().err
    assert "machine dstc has no weight-only n:m" in error and "--machine v100-nm" in error
    assert error.count("\n") == 1


def test_bench_prunes_a_side(capsys):
    sizes = ["-m", "64", "-n", "64", "-k", "64", "--pattern", "4:16", "--pattern-side", "b"]
    options = ["--machine", "v100-nm", "--engine", "nm", "--json", "-"]
    assert main(["bench", "gemm", *sizes, *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["engine"] == "nm" and row["schedule"]["swap"] and row["bit_exact"]
    assert row["b_density_measured"] == 0.25 and row["a_density_measured"] == 1

"""Measured rows, sampling, statistics: what `dstc validate` computes around the simulator."""

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.bench import Gemm
from dstc.compiler.sampling import SETTLING, THRESHOLD, sample
from dstc.compiler.validate import check
from dstc.compiler.validate_data import Row, chosen, measured
from dstc.compiler.validate_facts import missed, rank_correlation, ranks, summary

DATA = measured("v100")


def test_the_rows_are_the_measured_ones() -> None:
    assert len(DATA.rows) == 80 and "DeepBench" in DATA.origin and "V100" in DATA.machine
    first = DATA.rows[0]
    assert (first.m, first.n, first.k, first.layout, first.us) == (1760, 16, 1760, "NN", 20)
    assert {row.layout for row in DATA.rows} == {"NN", "TN", "NT"}
    assert min(row.us for row in DATA.rows) == 8 and max(row.us for row in DATA.rows) == 19639


def test_column_major_products_in_row_major_terms() -> None:
    """C^T = op(B)^T op(A)^T, on a column-major product written out with numpy."""
    m, n, k = 3, 4, 5
    rng = np.random.default_rng(0)
    for a, b in ("NN", "TN", "NT"):
        row = Row(0, "", m, n, k, a, b, 1.0)
        gemm = row.gemm()
        assert (gemm.m, gemm.n, gemm.k) == (n, m, k)
        op_a, op_b = rng.random((m, k)), rng.random((k, n))
        memory_a = (op_a if a == "N" else op_a.T).ravel(order="F")  # as cuBLAS stores them
        memory_b = (op_b if b == "N" else op_b.T).ravel(order="F")
        left = memory_b.reshape((k, n) if b == "T" else (n, k))  # as our product takes them
        right = memory_a.reshape((m, k) if a == "T" else (k, m))
        product = (left.T if b == "T" else left) @ (right.T if a == "T" else right)
        np.testing.assert_allclose(product.ravel(), (op_a @ op_b).ravel(order="F"))
        assert (gemm.trans_a, gemm.trans_b, gemm.out) == (b == "T", a == "T", "f16")


@pytest.mark.parametrize(
    ("text", "indices"),
    [("7", [7]), ("3-5,4,0", [0, 3, 4, 5]), ("1024x16x512-*", [64, 69]), ("*-NT, 1", 6)],
)
def test_rows_are_chosen_by_index_range_and_pattern(text: str, indices: list[int] | int) -> None:
    got = [row.index for row in chosen(DATA.rows, text)]
    assert len(got) == indices if isinstance(indices, int) else got == indices
    assert got == sorted(got)


@pytest.mark.parametrize("text", ["80", "*-TT", "", "1-x", "-3"])
def test_a_part_that_names_no_row_is_refused(text: str) -> None:
    with pytest.raises(DstcError, match="names no row; give an index"):
        chosen(DATA.rows, text)


def test_samples_end_in_the_tail_of_the_whole_grid() -> None:
    plan = sample((60, 375, 1), 160, 1e9)
    assert plan is not None
    assert plan.few % 160 == plan.many % 160 == 22500 % 160
    assert plan.few // 160 == SETTLING
    assert (plan.many - plan.few) == 3 * 160, "30 rows of a panel"
    steady, start = 1000, 700
    assert plan.cycles(start + plan.few * steady, start + plan.many * steady) == (
        start + 22500 * steady
    )


@pytest.mark.parametrize(("row", "rounds"), [(8, 4), (12, 3), (20, 5), (3, 3), (31, 5), (1000, 4)])
def test_the_steady_part_is_whole_rows_if_it_can_be(row: int, rounds: int) -> None:
    plan = sample((row, 10000, 1), 4, 1e9)
    assert plan is not None and plan.many - plan.few == rounds * 4


def test_short_grids_run_in_full() -> None:
    assert sample((60, 375, 1), 160, THRESHOLD) is None
    assert sample((10, 100, 1), 160, 1e12) is None
    assert sample((10, 1, 1), 160, 1e12) is None
    assert sample((60, 375, 2), 160, 1e12) is None, "a prefix of a split grid has no results"


def test_ranks_share_ties() -> None:
    assert ranks(np.array([10.0, 30, 20, 20, 5])).tolist() == [2, 5, 3.5, 3.5, 1]
    x = np.array([1.0, 2, 3, 4])
    assert rank_correlation(x, x**3) == pytest.approx(1)
    assert rank_correlation(x, -x) == pytest.approx(-1)
    assert rank_correlation(x, np.array([1.0, 3, 2, 4])) == pytest.approx(0.8)
    # by hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert rank_correlation(np.array([1.0, 2, 2, 3]), x) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert rank_correlation(x, np.ones(4)) is None


def facts(measured_us: float, simulated_us: float, index: int = 0) -> dict[str, object]:
    return {
        "index": index, "measured_us": measured_us, "simulated_us": simulated_us,
        "ratio": simulated_us / measured_us, "layout": "NN", "m": 1024, "n": 16, "k": 512,
        "sampled": None,
    }  # fmt: skip


def test_summary() -> None:
    rows = [facts(10, 20, 3), facts(100, 50, 5), facts(200, 220, 9)]
    s = summary(rows)
    assert s["geomean"] == pytest.approx(1.1 ** (1 / 3))
    assert s["mape"] == pytest.approx((100 + 50 + 10) / 3)
    assert s["mape_long"] == pytest.approx(30)
    assert s["rank"] == pytest.approx(1) and s["worst"] == [3, 5, 9]
    assert next(c for c in s["classes"] if c["name"] == "up to 50 us")["rows"] == 1
    (line, other) = missed(s)
    assert line == "mean absolute error, percent: 53.3, wanted 0 to 20"
    assert other.startswith("the same over rows longer than 50 us, percent: 30,")
    assert missed(summary([facts(100, 101), facts(200, 190)])) == []


def test_wrong_values_are_found() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(-3, 3, (200, 64)).astype(np.float16)
    b = rng.integers(-3, 3, (64, 150)).astype(np.float16)
    right = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16)
    gemm = Gemm(200, 150, 64)
    assert check(gemm, [a, b], right, 1.0)["ok"]
    wrong = right.copy()
    wrong[:, -1] += 1
    assert not check(gemm, [a, b], wrong, 1.0)["ok"]
    assert not check(gemm, [a, b], np.zeros_like(right), 1.0)["ok"]
    half = right.copy()
    half[100:] = 0
    assert not check(gemm, [a, b], half, 1.0)["ok"], "rows without a value are wrong"
    assert check(gemm, [a, b], half, 0.5)["ok"]
    assert not check(gemm, [a, b], half, 0.9)["ok"], "less than the CTAs that ran compute"
    half[:100] += 1
    assert not check(gemm, [a, b], half, 0.5)["ok"]


@pytest.mark.parametrize(("trans_a", "trans_b"), [(True, False), (False, True), (True, True)])
def test_operands_are_checked_as_they_are_stored(trans_a: bool, trans_b: bool) -> None:
    """Square, so that the wrong way round has the same shape."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 3, (2, 96, 96)).astype(np.float16)
    right = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16)
    stored = [x.T if flip else x for x, flip in ((a, trans_a), (b, trans_b))]
    assert check(Gemm(96, 96, 96, trans_a=trans_a, trans_b=trans_b), stored, right, 1.0)["ok"]
    assert not check(Gemm(96, 96, 96), stored, right, 1.0)["ok"]


def test_results_are_compared_as_they_are_rounded() -> None:
    """Sums above 2048 are no f16: the result has them rounded, however the host holds it."""
    gemm = Gemm(4, 6, 600, out="f16")
    a, b = np.full((4, 600), 3, np.float16), np.full((600, 6), 3, np.float16)
    a[:, 0] = 1
    exact = a.astype(np.float32) @ b.astype(np.float32)
    rounded = exact.astype(np.float16).astype(np.float32)
    assert (exact != rounded).all()
    assert check(gemm, [a, b], rounded, 1.0)["ok"]
    assert not check(gemm, [a, b], exact, 1.0)["ok"]

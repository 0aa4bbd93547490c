"""Cycles grow as the work does: counted on a machine of four SMs, deterministic."""

from functools import cache

import pytest
from dstc.compiler.bench import Gemm, run_gemm
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.runtime.machine import Machine

MACHINE = Machine.load("dstc", {"sm.count": 4})


@cache
def cycles(
    m: int,
    n: int,
    k: int,
    a: float = 1,
    b: float = 1,
    engine: str = "dual",
    pattern: str = "random",
) -> int:
    row = run_gemm(Gemm(m, n, k, a, b, pattern), machine=MACHINE, engine=engine, check=False)
    return row["cycles"]


@pytest.mark.parametrize("engine", ["dense", "dual"])
@pytest.mark.parametrize("twice", [(512, 512, 1024), (512, 1024, 512)], ids=["k", "n"])
def test_twice_the_work_takes_twice_as_long(engine: str, twice: tuple[int, int, int]) -> None:
    once = cycles(512, 512, 512, engine=engine)
    assert cycles(*twice, engine=engine) == pytest.approx(2 * once, rel=0.15)


def test_twice_the_sms_take_half_as_long() -> None:
    eight = Machine.load("dstc", {"sm.count": 8})
    for engine in ("dense", "dual"):
        row = run_gemm(Gemm(512, 1024, 512), machine=eight, engine=engine, check=False)
        assert row["cycles"] == pytest.approx(cycles(512, 1024, 512, engine=engine) / 2, rel=0.15)


FALLING = (1, 0.7, 0.4, 0.2, 0.1, 0.05, 0)


@pytest.mark.parametrize("both", [True, False], ids=["both", "one"])
def test_dual_cycles_fall_with_density(both: bool) -> None:
    times = [cycles(512, 512, 512, d, d if both else 1) for d in FALLING]
    facts = dict(zip(FALLING, times, strict=True))
    for (density, more), less in zip(facts.items(), times[1:], strict=False):
        # Below 0.2 issue slots are the floor, and placement moves it by a percent or two.
        assert less < more * (1 if density > 0.2 else 1.03), facts


def test_empty_tiles_are_skipped() -> None:
    """Of the same density, whole empty tiles cost less than scattered zeros."""
    assert cycles(512, 512, 512, 0.1, 1, pattern="block") < cycles(512, 512, 512, 0.1, 1)


def test_short_steps_do_not_wait_for_the_bitmaps_of_a_dense_operand() -> None:
    """They are fetched into L1 as its values are: so the depth of the pipeline matters little."""
    shallow, deep = (
        run_gemm(
            Gemm(128, 32, 864, 0.045, 0.659),
            machine=MACHINE,
            schedule=ScheduleAttr.of(Engine.DUAL, (64, 64), (32, 32), stages),
            check=False,
        )["cycles"]
        for stages in (4, 8)
    )
    assert shallow < 1.1 * deep


def test_dual_costs_little_where_nothing_is_sparse() -> None:
    dense = cycles(512, 512, 1024, engine="dense")
    assert cycles(512, 512, 1024) == pytest.approx(dense, rel=0.25)


def test_dense_cycles_do_not_depend_on_density() -> None:
    once = cycles(512, 512, 512, engine="dense")
    assert cycles(512, 512, 512, 0.1, 0.1, engine="dense") == once

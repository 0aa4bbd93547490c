"""Output tiles in panels of columns: every tile once, few rows and columns at a time."""

import pytest
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.matmul_raster import PANEL, at_once, panel_columns
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine

_TILES = ((32, 32), (16, 16))


@pytest.mark.parametrize("columns", [2 * PANEL, 2 * PANEL + 1, 3 * PANEL - 1])
@pytest.mark.parametrize("split", [1, 2])
def test_panels_cover_the_result(columns: int, split: int) -> None:
    schedule = ScheduleAttr.of(Engine.DENSE, *_TILES, 2, split=split)
    gemm = Gemm(90, 32 * columns - 3, 64)
    machine = Machine.load("v100", {"sm.count": 8})
    row = run_gemm(gemm, machine=machine, engine="dense", schedule=schedule, checks="full")
    assert row["bit_exact"]


def test_a_narrow_grid_goes_row_by_row() -> None:
    assert panel_columns(9, 2 * PANEL - 1) == 2 * PANEL - 1
    assert panel_columns(9, 2 * PANEL) == PANEL
    assert panel_columns(1, 2 * PANEL) == 2 * PANEL


@pytest.mark.parametrize(
    ("grid", "tiles", "rows_and_columns"),
    [
        ((100, 66), 160, (10, 16)),
        ((4, 66), 160, (4, 40)),
        ((1, 32), 400, (1, 32)),
        ((100, 14), 160, (12, 14)),
        ((3, 5), 160, (3, 5)),
    ],
)
def test_what_runs_at_once(
    grid: tuple[int, int], tiles: int, rows_and_columns: tuple[int, int]
) -> None:
    assert at_once(*grid, tiles) == rows_and_columns


def test_ctas_at_the_same_time_share_operands() -> None:
    """The first 32 CTAs of a grid 40 columns wide: 16 columns by 2 rows, not 32 by 1."""
    schedule = ScheduleAttr.of(Engine.DENSE, *_TILES, 2)
    machine = Machine.load("v100", {"sm.count": 8})
    compiled, _ = compile_gemm(Gemm(128, 40 * 32, 32), machine, "dense", schedule)
    a, b = Gemm(128, 40 * 32, 32).operands()
    result = compiled.run(
        {"arg0": a, "arg1": b}, device=Device(machine, max_ctas=2 * PANEL), statistics=False
    )
    out = result.outputs["out0"]
    assert out[:64, : 32 * PANEL].all()
    assert not out[64:].any() and not out[:, 32 * PANEL :].any()

"""Output tiles in panels of columns: every tile once, few rows and columns at a time."""

import pytest
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes import matmul_raster
from dstc.passes.matmul_raster import PANEL, Order, at_once, cheapest_panel, panel_columns
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


@pytest.mark.parametrize(
    ("grid", "tiles", "costs", "width"),
    [
        ((16, 16), 64, (1, 1), 8),
        ((32, 8), 64, (4, 1), 8),
        ((64, 64), 64, (4, 1), 16),
        ((64, 60), 64, (1, 1), 8),
        ((4, 16), 64, (1, 1), 16),
        ((1, 99), 64, (1, 1), 99),
        ((99, 1), 64, (1, 1), 1),
    ],
)
def test_the_cheapest_panel(
    grid: tuple[int, int], tiles: int, costs: tuple[float, float], width: int
) -> None:
    assert cheapest_panel(*grid, tiles, *costs) == width


@pytest.mark.parametrize("densities", [(0.2, 0.2), (1, 0.1), (0.1, 1)])
@pytest.mark.parametrize("grid", [(5, 7), (7, 5), (6, 4)])
def test_panels_of_the_dual_engine_cover_the_result(
    densities: tuple[float, float], grid: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul_raster, "TOGETHER", 6 * 32 * 32)
    schedule = ScheduleAttr.of(Engine.DUAL, (32, 32), (32, 32), 4)
    gemm = Gemm(32 * grid[0] - 3, 32 * grid[1], 32, *densities)
    machine = Machine.load("dstc", {"sm.count": 4})
    row = run_gemm(gemm, machine=machine, engine="dual", schedule=schedule, checks="full")
    assert row["bit_exact"]


@pytest.mark.parametrize("grid", [(1, 7), (7, 1), (5, 7), (16, 12)])
@pytest.mark.parametrize("costs", [(1, 0.1), (0.1, 1), (0.3, 0.3)])
def test_an_order_has_each_tile_once_and_shares_the_dearer_operand(
    grid: tuple[int, int], costs: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul_raster, "TOGETHER", 6 * 32 * 32)
    order = Order.of_sparse(grid, (32, 32), costs)
    places = order.places()
    assert sorted(places) == list(range(grid[0] * grid[1]))
    first = places[: order.width]
    assert len(set(first % grid[1] if order.down else first // grid[1])) == 1
    assert order.down == (costs[1] > costs[0])

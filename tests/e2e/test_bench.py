"""`dstc bench gemm` and the example: facts, tables, exit codes."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler import bench
from dstc.compiler.bounds import Tiles, dense_bounds, dual_bounds
from dstc.compiler.cli.main import main
from dstc.runtime.machine import Machine

ROW = {
    "m", "n", "k", "a_density", "b_density", "machine", "engine", "schedule", "cycles", "time_us",
    "tflops", "warp_instructions", "wall_seconds", "bit_exact", "bounds", "peak_rss_bytes",
}  # fmt: skip
BOUNDS = {"ohmma", "issue", "shared_memory", "accumulator", "dram"}
SIZES = ("-m", "40", "-n", "50", "-k", "30")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["bench", "gemm", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = "--a-density", "0,.2", "--b-density", ".5,1"
    words = (*SIZES, *pairs, "--engine", "dual", "--set", "sm.count=2")
    code, out, err = run(capsys, *words, "--json", "-")
    facts = json.loads(out)
    assert (code, err, facts["schema"]) == (0, "", 1)
    found = [(r["a_density"], r["b_density"]) for r in facts["rows"]]
    assert found == [(0, 0.5), (0, 1), (0.2, 0.5), (0.2, 1)]
    for row in facts["rows"]:
        assert set(row) >= ROW and set(row["bounds"]) >= BOUNDS
        assert row["bit_exact"] is True and row["engine"] == "dual"
        seconds = row["cycles"] / 1447e6
        assert row["tflops"] == pytest.approx(2 * 40 * 50 * 30 / seconds / 1e12)
        assert row["time_us"] == pytest.approx(seconds * 1e6 + 8)
        assert row["peak_rss_bytes"] > 1 << 20
    assert facts["rows"][0]["a_density_measured"] == 0


def test_table_and_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    words = (*SIZES, "--machine", "v100", "--no-check", "--json", str(file))
    code, out, _ = run(capsys, *words)
    (row,) = json.loads(file.read_text())["rows"]
    assert code == 0 and f"{row['cycles']:,}" in out and "40 x 50 x 30 on v100" in out
    assert row["bit_exact"] is None and row["bounds"]["ohmma"] is None
    assert max(len(line.rstrip()) for line in out.splitlines() if "wrote" not in line) <= 120


def test_functional_mode_has_no_times(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *SIZES, "--mode", "functional", "--json", "-")
    (row,) = json.loads(out)["rows"]
    assert code == 0 and row["bit_exact"] is True
    assert row["cycles"] is row["time_us"] is row["tflops"] is None


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("-m", "0", "-n", "1", "-k", "1"), "-m 0: a size is a positive number"),
        (("-m", "1", "-n", "-3", "-k", "1"), "-n"),
        (("-m", "x", "-n", "1", "-k", "1"), "invalid int value: 'x'"),
        (("-m", "1", "-n", "1"), "-k"),
        (("-m", "99999", "-n", "99999", "-k", "1"), "does not fit"),
        ((*SIZES, "--a-density", "1.5"), "--a-density 1.5: a density is 0 to 1"),
        ((*SIZES, "--b-density", "nan"), "--b-density nan"),
        ((*SIZES, "--b-density", ".5,"), "'' is not a number"),
        ((*SIZES, "--a-density", "half"), "'half' is not a number"),
        ((*SIZES, "--pattern", "stripes"), "stripes"),
        ((*SIZES, "--machine", "v1000"), "v1000"),
        ((*SIZES, "--machine", "v100", "--engine", "dual"), "no dual-side"),
        ((*SIZES, "--engine", "nm"), "nm"),
        ((*SIZES, "--set", "sm.cout=4"), "sm.count"),
        ((*SIZES, "--mode", "guess"), "guess"),
        ((*SIZES, "--seed", "-1"), "--seed"),
    ],
)
def test_bad_usage(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], what: str) -> None:
    try:
        code = main(["bench", "gemm", *words])
    except SystemExit as e:
        code = e.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert what in err and len(err.splitlines()) == 1


def test_a_wrong_result_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = bench.matmul_f32
    monkeypatch.setattr(bench, "matmul_f32", lambda *a, **k: np.nextafter(true(*a, **k), np.inf))
    code, out, err = run(capsys, *SIZES)
    assert code == 1 and "NO" in out
    assert "1 of 1 results are not numpy's" in err and len(err.splitlines()) == 1


def test_operands_are_as_dense_as_asked() -> None:
    for pattern in ("random", "block"):
        a, b = bench.Gemm(500, 600, 700, 0.25, 1, pattern).operands()
        assert np.count_nonzero(a) / a.size == pytest.approx(0.25, abs=0.04)
        assert np.count_nonzero(b) == b.size
    for d, share in ((0, 0), (1, 1)):
        a, _ = bench.Gemm(50, 60, 70, d).operands()
        assert np.count_nonzero(a) == share * a.size
    with pytest.raises(DstcError, match="pattern"):
        bench.Gemm(1, 1, 1, pattern="x")


def test_block_zeros_are_whole_tiles() -> None:
    a, b = bench.Gemm(96, 64, 48, 0.5, 0.5, "block", seed=3).operands()
    for tiles in (
        a.reshape(3, 32, 3, 16).transpose(0, 2, 1, 3),
        b.reshape(3, 16, 2, 32).transpose(0, 2, 1, 3),
    ):
        full = np.count_nonzero(tiles, axis=(2, 3))
        assert set(full.flat) == {0, 512}


def test_example_mlp(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(root / "examples" / "mlp" / "mlp.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert out.count("ok") == 2 and "WRONG" not in out
    assert "first" in out and "second" in out


def test_the_schedule_is_for_the_machine_as_it_was_changed(tmp_path: Path) -> None:
    """Overrides and machine files reach the passes."""
    file = tmp_path / "tiny.toml"
    file.write_text('name = "tiny"\ninherits = "dstc"\n[sm]\ncount = 1\n')
    gemm = bench.Gemm(512, 512, 128, 0.5, 0.5)
    tiles = [
        bench.run_gemm(gemm, machine=m, check=False)["schedule"]["cta"]
        for m in ("dstc", Machine.load("dstc", {"sm.count": 1}), Machine.load(file))
    ]
    assert tiles[0] != tiles[1] == tiles[2]


def test_bounds_of_full_operands() -> None:
    """64 x 64 x 64 of ones on one SM: counted by hand."""
    machine = Machine.load("dstc", {"sm.count": 1})
    one = np.ones((64, 64), np.float16)
    tiles = Tiles((64, 64), (32, 32))
    dual, dense = dual_bounds(one, one, tiles, machine), dense_bounds((64,) * 3, tiles, machine)
    assert dual["ohmma"] == 2 * 2 * 64 * 8 / 4
    assert dual["accumulator"] == 4 * 32 / 4
    encoded = 2 * 8 * (32 * 16 * 2 + 16 * 4 + 4)
    assert dual["l1"] == 2 * encoded / 128
    assert dense["hmma"] == 2 * 64**3 / 256 / 4
    assert dense["shared_memory"] == (4 * 64 + 128) * 64 * 2 / 128
    bytes_a_cycle = 900 * 0.945 / 1.447
    assert dense["dram"] == pytest.approx(2 * 64 * 64 * 2 / bytes_a_cycle)
    assert dual["dram"] == pytest.approx(encoded / bytes_a_cycle)
    assert dual["hmma"] is dual["shared_memory"] is dense["ohmma"] is dense["accumulator"] is None


def test_bounds_take_the_better_orientation_and_skip_empty_tiles() -> None:
    machine = Machine.load("dstc", {"sm.count": 1})
    tiles = Tiles((32, 32), (32, 32))
    few, full = np.zeros((32, 16), np.float16), np.ones((16, 32), np.float16)
    few[:8] = 1
    assert dual_bounds(few, full, tiles, machine)["ohmma"] == 16 * 1 * 2 / 4
    assert dual_bounds(full.T.copy(), few.T.copy(), tiles, machine)["ohmma"] == 16 * 1 * 2 / 4
    empty = dual_bounds(0 * few, full, tiles, machine)
    assert empty["ohmma"] == 0 and empty["l1"] == 2 * 4 / 128

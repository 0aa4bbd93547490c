"""`dstc validate dstc` and benchmarks/engines.py: facts, files, exit codes, on small products."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.compiler import bench, validate_dstc
from dstc.compiler.bench import Gemm, run_gemm, select_gemm
from dstc.compiler.cli.main import main
from dstc.compiler.validate_dstc import missed, points, published, quantisation, summary
from dstc.dialects.dstc import Engine
from dstc.runtime.machine import Machine

SMALL = ("--size", "128", "--set", "sm.count=2")
ENGINES = Path(__file__).parents[2] / "benchmarks" / "engines.py"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["validate", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_published_points_and_what_quantisation_says_of_them() -> None:
    data = published()
    assert data.size == 4096 and len(data.ratios) == 6 and "secondary" in data.confidence
    assert data.ratios[1, 1] == 1 and data.ratios[0.5, 0.4] == pytest.approx(0.322, abs=5e-4)
    for point, share in {
        (1, 1): 1, (1, 0.4): 0.546, (0.9, 1): 0.997, (0.9, 0.4): 0.544, (0.5, 1): 0.607,
        (0.5, 0.4): 0.331,
    }.items():  # fmt: skip
        assert quantisation(*point) == pytest.approx(share, abs=6e-4), point
    assert points("published", data) == list(data.ratios)
    grid = points("all", data)
    assert len(grid) == 21 and grid[0] == (1, 1) and set(data.ratios) <= set(grid)


def test_points_side_by_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, plot = tmp_path / "curve.json", tmp_path / "curve.svg"
    code, out, err = run(capsys, "dstc", *SMALL, "--json", str(file), "--plot", str(plot))
    assert (code, err) == (0, "") and "published for 4096^3: not judged" in out
    facts = json.loads(file.read_text())
    assert facts["schema"] == 1 and not facts["partial"] and facts["missed"] is None
    assert facts["set"] == {"sm.count": 2} and len(facts["rows"]) == 6
    dense = facts["rows"][0]["cycles"]
    for row in facts["rows"]:
        assert row["bit_exact"] and not row["schedule"]["swap"]
        assert row["schedule"]["engine"] == "dual"
        assert row["normalised"] == pytest.approx(row["cycles"] / dense)
        assert row["difference"] == pytest.approx(row["normalised"] / row["published"] - 1)
        assert row["judged"] == (row["a_density"] <= 0.5)
        assert sum(row["stalls"].values()) == row["cycles"] * 8
    assert facts["summary"]["judged"] == 2
    text = plot.read_text()
    assert "<svg" in text and "<dc:date>" not in text


def test_judged_points_that_are_far_off_are_missed() -> None:
    def row(a: float, ratio: float) -> dict[str, Any]:
        return {
            "a_density": a, "b_density": 1.0, "published": 0.5, "normalised": ratio,
            "quantisation": 0.5, "difference": ratio / 0.5 - 1, "judged": a <= 0.5,
            "quantisation_difference": 0.0,
        }  # fmt: skip

    rows = [row(0.9, 0.8), row(0.5, 0.56), row(0.5, 0.54)]
    assert missed(rows) == ["densities 0.5 / 1: 0.560, published 0.500, wanted within 10 %"]
    assert summary(rows)["largest_judged"] == pytest.approx(0.12)


def test_wrong_values_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = validate_dstc.run_gemm
    monkeypatch.setattr(
        validate_dstc, "run_gemm", lambda *a, **k: honest(*a, **k) | {"bit_exact": False}
    )
    code, out, err = run(capsys, "dstc", "--size", "64", "--set", "sm.count=2")
    assert code == 1 and "6 of 6 products have values that are not numpy's" in err
    assert "WRONG" in out and "\n" not in err.strip()


@pytest.mark.parametrize(
    "words",
    [("v100", "--points", "all"), ("v100", "--size", "64"), ("dstc", "--rows", "0"),
     ("dstc", "--no-sample")],
)  # fmt: skip
def test_options_of_the_other_one_are_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2 and out == "" and f"{words[1].replace('no-', '')} is for" in err


def test_some_lines_find_a_wrong_value(monkeypatch: pytest.MonkeyPatch) -> None:
    gemm, machine = Gemm(300, 200, 64, 0.5, 0.5, out="f16"), Machine.load("dstc", {"sm.count": 4})
    assert run_gemm(gemm, machine=machine, check="lines")["bit_exact"]
    honest = bench.reference
    monkeypatch.setattr(bench, "reference", lambda *words: np.roll(honest(*words), 1, axis=1))
    assert not run_gemm(gemm, machine=machine, check="lines")["bit_exact"]
    assert select_gemm(gemm, machine, Engine.DUAL).engine.data == Engine.DUAL


def test_engines_beside_each_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "engines.json"
    words = ["--size", "128", "--densities", ".1/.1", "--machines", "dstc,dstc-strict"]
    monkeypatch.setattr(sys, "argv", ["engines.py", *words, "--json", str(file)])
    runpy.run_path(str(ENGINES), run_name="__main__")
    assert "dstc-strict, dual, squashing" in capsys.readouterr().out
    facts = json.loads(file.read_text())
    assert [r["configuration"] for r in facts["rows"]] == [
        "dstc", "dstc-strict, dual", "dstc-strict, dual, squashing",
    ]  # fmt: skip
    for row in facts["rows"]:
        assert row["bit_exact"] and row["target"] is None
        assert row["speedup"] == pytest.approx(facts["dense"]["cycles"] / row["cycles"])
        assert all(over >= 1 for over in row["over_bounds"].values())
    assert facts["cpu"][0]["numpy_seconds"] > 0

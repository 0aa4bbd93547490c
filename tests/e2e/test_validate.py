"""`dstc validate`: measured rows through compiler and simulator; facts, files, exit codes."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.compiler import sampling, validate, validate_data, validate_facts, validate_row
from dstc.compiler.cli.main import main
from dstc.compiler.validate_data import Row
from dstc.runtime.machine import Machine

V100 = Machine.load("v100")
SMALL = ("--rows", "1024x16x512-*")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["validate", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "new" / "rows.json"
    code, out, err = run(capsys, "v100", *SMALL, "--json", str(file))
    assert (code, err) == (0, "") and "targets are for all rows: not judged" in out
    facts = json.loads(file.read_text())
    assert facts["schema"] == 1 and not facts["partial"] and facts["missed"] is None
    assert [r["index"] for r in facts["rows"]] == [64, 69]
    for row in facts["rows"]:
        assert row["measured_us"] == 8 and row["check"]["ok"] and row["warm_l2"]
        us = row["cycles"] / V100["clock.core_mhz"] + V100["launch.overhead_us"]
        assert row["simulated_us"] == pytest.approx(us)
        assert row["ratio"] == pytest.approx(row["simulated_us"] / 8)
        assert sum(row["stalls"].values()) == row["cycles"] * 320
    assert facts["summary"]["rows"] == 2


@pytest.mark.parametrize("layout", ["NN", "TN", "NT", "TT"])
def test_every_layout_is_multiplied_as_it_is_stored(layout: str) -> None:
    machine = V100.overridden({"sm.count": 8})
    row = validate.simulate(Row(0, "", 72, 104, 96, *layout, 10.0), machine)
    assert row["check"] == {"ok": True, "entries": 64 * 64, "right": 64 * 64}
    assert (row["m"], row["n"], row["k"], row["layout"]) == (72, 104, 96, layout)


def test_json_on_standard_output_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--rows", "64", "--json", "-", "--set", "sm.count=8")
    assert (code, err) == (0, "") and json.loads(out)["set"] == {"sm.count": 8}


def test_missed_targets_of_all_rows_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = validate_data.measured("v100")
    one = validate_data.Measured("", "", "", (data.rows[64],))
    none = validate_data.Measured("", "", "", ())
    monkeypatch.setattr(validate_data, "measured", lambda name: one)
    monkeypatch.setattr(validate_data, "measured_convolutions", lambda name: none)
    monkeypatch.setattr(
        validate_facts, "TARGETS", (("mape", "mean absolute error, percent", -2.0, -1.0),)
    )
    code, out, err = run(capsys)
    assert code == 1 and "mean absolute error" in err and "missed: mean absolute error" in out


def test_wrong_values_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"ok": False, "entries": 1, "right": 0}
    monkeypatch.setattr(validate, "check", lambda *_: result)
    code, out, err = run(capsys, "--rows", "64", "--set", "sm.count=8")
    assert code == 1 and "not numpy's; the first is row 64" in err and "WRONG" in out


def test_an_interrupt_leaves_the_rows_so_far(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulate = validate.simulate

    def second_is_interrupted(row: Row, *args: Any, **keywords: Any) -> dict[str, Any]:
        if row.index == 69:
            raise KeyboardInterrupt
        return simulate(row, *args, **keywords)

    monkeypatch.setattr(validate, "simulate", second_is_interrupted)
    file = tmp_path / "rows.json"
    code, out, _ = run(capsys, *SMALL, "--json", str(file))
    facts = json.loads(file.read_text())
    assert code == 130 and facts["partial"] and [r["index"] for r in facts["rows"]] == [64]
    assert "stopped early" in out


def test_a_limit_of_time_begins_no_further_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10000, 10))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    code, out, _ = run(capsys, *SMALL, "--limit-seconds", "30", "--json", "-")
    facts = json.loads(out)
    assert code == 0 and facts["partial"] and len(facts["rows"]) < 2


def test_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.svg"
    code, out, _ = run(capsys, *SMALL, "--plot", str(file))
    assert code == 0 and f"wrote {file}" in out and "<svg" in file.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rows", "*-TT"), "names no row"),
        (("--plot", "x.gif"), "must end in .png, .svg, .pdf"),
        (("--plot", "x.png"), "matplotlib, which is not installed; pip install 'dstc[plot]'"),
        (("--machine", "v200"), "no such machine"),
    ],
)
def test_bad_usage_is_one_line(
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without_matplotlib(name: str, *args: Any, **keywords: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    code, out, err = run(capsys, *words)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1


def test_a_sampled_grid_takes_as_long_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine small enough for the whole grid, as near to being bound by its tensor cores.

    Few CTAs share less of their operands, so that takes more L2 and DRAM for each SM than v100 has.
    """
    monkeypatch.setattr(sampling, "THRESHOLD", 0)
    monkeypatch.setattr(validate_row, "WARM_L2_SHARE", 0)
    machine = Machine.load(
        "v100",
        {"sm.count": 4, "l2.slices": 8, "l2.capacity_bytes": 1 << 20, "dram.peak_gb_s": 180.0,
         "dram.channels": 8},
    )  # fmt: skip
    row = Row(0, "", 1000, 1900, 256, "N", "N", 100.0)
    sampled = validate.simulate(row, machine)
    whole = validate.simulate(row, machine, sampled=False)
    assert whole["sampled"] is None and whole["check"]["ok"]
    assert json.loads(json.dumps(sampled)) == sampled, "plain values alone"
    part = sampled["sampled"]
    assert part is not None and part["n2"] < np.prod(whole["grid"]) == part["ctas"]
    assert part["cycles1"] < part["cycles2"] < sampled["cycles"] and sampled["check"]["ok"]
    assert sampled["cycles"] == pytest.approx(whole["cycles"], rel=0.02)

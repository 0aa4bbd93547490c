"""`--mode estimate`: near the simulator, and what the commands say."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm, schedule_facts
from dstc.compiler.bench_estimate import scheduled
from dstc.compiler.cli.main import main
from dstc.runtime.machine import Machine


@pytest.fixture(scope="module")
def rows(root: Path) -> list[dict[str, Any]]:
    """Random products, small ones among those that the benchmark draws."""
    script = runpy.run_path(str(root / "benchmarks" / "estimate_accuracy.py"))
    drawn = [c for c in script["cases"](120, 5) if c.gemm.m * c.gemm.n * c.gemm.k < 1 << 26]
    return [script["measured"](case) for case in drawn[:24]]


def test_estimates_are_near_the_simulator(rows: list[dict[str, Any]]) -> None:
    errors = np.abs([r["error"] for r in rows])
    assert {r["engine"] for r in rows} == {"dense", "dual"}
    assert np.median(errors) < 0.08 and errors.max() < 0.3, sorted(errors)[-5:]


def test_densities_alone_do_for_random_zeros(rows: list[dict[str, Any]]) -> None:
    found = [r for r in rows if r["pattern"] == "random"]
    assert np.median(np.abs([r["error_from_densities"] for r in found])) < 0.1


@pytest.mark.parametrize("engine", ["dense", "dual", "auto"])
def test_the_schedule_is_the_compilers(engine: str) -> None:
    machine, gemm = Machine.load("dstc"), Gemm(300, 200, 100, 0.2, 0.3)
    _, compiled = compile_gemm(gemm, machine, engine)
    assert scheduled(gemm, machine, engine).schedule.attr == compiled
    row = run_gemm(gemm, machine=machine, engine=engine, mode="estimate")
    assert row["schedule"] == schedule_facts(compiled)
    simulated = run_gemm(gemm, machine=machine, engine=engine, mode="functional")
    assert set(row) == set(simulated)
    assert row["bit_exact"] is row["counters"] is simulated["limit"] is None
    assert row["estimate"][row["limit"]] == max(row["estimate"].values())


def test_bench_says_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "gemm", "-m", "4096", "-n", "4096", "-k", "4096", "--mode", "estimate"]
    assert main([*words, "--machine", "v100"]) == 0
    out = capsys.readouterr().out
    assert "4096 x 4096 x 4096 on v100 (estimate)" in out and "tensor" in out


def test_run_says_what_limits_each_kernel(
    capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    model = str(root / "examples" / "digits_cnn" / "digits_cnn_pruned90.onnx")
    words = ["run", model, "--mode", "estimate", "--dim", "batch=8"]
    assert main([*words, "--compare", "v100", "--json", str(tmp_path / "o.json")]) == 0
    out = capsys.readouterr().out
    facts = json.loads((tmp_path / "o.json").read_text())
    assert facts["mode"] == "estimate" and facts["outputs"] is facts["check"] is None
    assert facts["cycles"] == sum(k["cycles"] for k in facts["kernels"]) > 0
    assert all(k["limit"] and k["stalls"] is None for k in facts["kernels"])
    assert facts["compare"]["v100"]["speedup"] > 0
    assert f"total: {facts['cycles']:,} cycles" in out and "nothing was simulated" in out
    for option in ("--output", "--report", "--labels"):
        assert main([*words, option, str(tmp_path / "x")]) == 2
        assert f"{option} needs values" in capsys.readouterr().err


def test_a_program_has_no_schedules(
    capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    model = str(root / "examples" / "digits_cnn" / "digits_cnn_dense.onnx")
    program = str(tmp_path / "p.bin")
    assert main(["compile", model, "-o", program, "--dim", "batch=1"]) == 0
    assert main(["run", program, "--mode", "estimate"]) == 2
    assert "needs the model" in capsys.readouterr().err

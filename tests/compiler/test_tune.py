"""`--explain` and `--tune`: what they say, what is measured, what is remembered."""

import json
from pathlib import Path
from typing import Any

import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm
from dstc.compiler.bench_conv import Conv, run_conv
from dstc.compiler.cli.main import main
from dstc.compiler.tune import Tuner
from dstc.dialects.conv_window import ConvWindow
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.passes.candidates import candidates
from dstc.passes.choose import choose, tuned
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_windows import Windows
from dstc.runtime.machine import Machine

SMALL = Machine.load("dstc", {"sm.count": 4})
GEMM = Gemm(96, 80, 64, 0.2, 0.3)
WORDS = ("-m", "96", "-n", "80", "-k", "64", "--a-density", ".2", "--b-density", ".3")
FEW = ("--set", "sm.count=4")


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def tuner(tmp_path: Path, lines: list[str]) -> Tuner:
    return Tuner(tmp_path / "tune", threads=1, say=lines.append)


def product(densities: tuple[float, float] = (0.2, 0.3)) -> ScheduledProduct:
    sizes = 96, 80, 64
    return ScheduledProduct(sizes, next(candidates(sizes, SMALL)), densities=densities)


def test_what_is_measured_decides_and_is_remembered(tuner: Tuner, lines: list[str]) -> None:
    choice = tuned(choose(product(), SMALL), SMALL, tuner, 3)
    assert (tuner.simulated, tuner.remembered) == (3, 0)
    measured = [c.measured for c in choice.candidates]
    assert None not in measured[:3] and set(measured[3:]) == {None}
    assert choice.best.cycles == min(c.cycles for c in choice.candidates[:3])
    again = tuned(choose(product((0.2001, 0.3)), SMALL), SMALL, tuner, 4)
    assert (tuner.simulated, tuner.remembered) == (4, 3)
    assert again.best.measured is not None and again.best.measured <= choice.best.cycles
    assert "3 schedules simulated" in lines[0] and "1 schedules simulated" in lines[1]


def test_measured_cycles_are_those_of_the_bench(tuner: Tuner) -> None:
    row = run_gemm(GEMM, machine=SMALL, tune=2, tuner=tuner, explain=True)
    assert row["bit_exact"] and row["cycles"] == row["choice"]["candidates"][0]["measured"]
    assert row["choice"]["measured"] == 2
    estimate = run_gemm(GEMM, machine=SMALL, mode="estimate", tune=2, tuner=tuner, explain=True)
    assert estimate["schedule"] == row["schedule"] and tuner.remembered == 2


def test_other_machines_and_densities_are_measured_anew(tuner: Tuner) -> None:
    schedules = [c.schedule for c in choose(product(), SMALL).candidates[:1]]
    tuner(product(), schedules, SMALL)
    tuner(product((0.9, 0.3)), schedules, SMALL)
    tuner(product(), schedules, Machine.load("dstc", {"sm.count": 4, "dram.latency": 800}))
    assert (tuner.simulated, tuner.remembered) == (3, 0)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"schema": 0}', b"\xff\xfe", b'{"schema":1,"facts":{},"cycles":{"a":1}}'],
)
def test_a_damaged_entry_is_ignored_with_a_line(
    tuner: Tuner, lines: list[str], damage: bytes
) -> None:
    schedules = [c.schedule for c in choose(product(), SMALL).candidates[:1]]
    want = tuner(product(), schedules, SMALL)
    assert tuner.folder is not None
    (file,) = tuner.folder.iterdir()
    file.write_bytes(damage)
    del lines[:]
    assert tuner(product(), schedules, SMALL) == want
    assert lines[0].startswith(f"{file}: ignored") and "\n" not in lines[0]
    assert tuner(product(), schedules, SMALL) == want and tuner.remembered == 1


def test_a_cache_that_cannot_be_written_is_told(lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tuner = Tuner(tmp_path / "file" / "tune", threads=1, say=lines.append)
    schedules = [c.schedule for c in choose(product(), SMALL).candidates[:1]]
    assert tuner(product(), schedules, SMALL)[0] > 0
    assert any(line.startswith("not remembered") for line in lines)


def test_the_pass_alone_cannot_measure() -> None:
    from dstc.compiler.bench import gemm_module
    from dstc.compiler.driver import new_context, run_pipeline

    ctx = new_context()
    with pytest.raises(DstcError, match="tune needs the simulator"):
        run_pipeline(ctx, gemm_module(ctx, GEMM), ["select-schedule{tune=2}"])


def test_a_given_schedule_is_not_chosen_for(tuner: Tuner) -> None:
    schedule = choose(product(), SMALL).candidates[-1].schedule
    compiled, used = compile_gemm(GEMM, SMALL, schedule=schedule, tune=2, tuner=tuner)
    assert used == schedule and compiled.choices == [] and tuner.simulated == 0


def explained(tmp_path: Path, *words: str) -> dict[str, Any]:
    file = tmp_path / "facts.json"
    assert main(["bench", "gemm", *WORDS, *FEW, *words, "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    return row


def test_bench_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = explained(tmp_path, "--explain", "--mode", "estimate")
    choice = row["choice"]
    assert choice["candidates"][0]["cycles"] == row["cycles"] or row["cycles"] > 0
    assert {c["engine"] for c in choice["candidates"]} == {"dense", "dual"}
    cycles = [c["cycles"] for c in choice["candidates"]]
    assert len(cycles) >= 8 and choice["considered"] > len(cycles)
    assert {"predicted", "measured", "limit", "parts", "cta", "warp"} <= set(
        choice["candidates"][0]
    )
    out = capsys.readouterr().out
    assert choice["why"] in out.replace("\n", " ") and "of best" in out
    assert explained(tmp_path, "--mode", "estimate")["choice"] is None


def test_bench_tunes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row = explained(tmp_path, "--explain", "--tune=2")
    assert [c["measured"] is None for c in row["choice"]["candidates"][:3]] == [False, False, True]
    assert "2 schedules simulated" in capsys.readouterr().err
    assert len(list((tmp_path / "cache" / "dstc" / "tune").iterdir())) == 1
    explained(tmp_path, "--tune")
    assert "2 schedules simulated" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "gemm", *WORDS, "--tune", "0"])


def test_a_model_explains_each_product(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(root / "examples" / "digits_cnn" / "digits_cnn_pruned90.onnx")
    words = ["compile", model, "-o", str(tmp_path / "p.bin"), "--dim", "batch=8", "--explain"]
    assert main([*words, "--json", str(tmp_path / "facts.json")]) == 0
    choices = json.loads((tmp_path / "facts.json").read_text())["choices"]
    assert len(choices) > 2 and all(c["source"] and c["candidates"] for c in choices)
    out = capsys.readouterr().out
    assert all(c["source"][0] in out for c in choices)
    assert main(["run", str(tmp_path / "p.bin"), "--input", "random", "--explain"]) == 2
    assert "program already" in capsys.readouterr().err


def test_a_convolution_is_measured_as_one() -> None:
    window = ConvWindow((3, 3), pads=(1, 1, 1, 1))
    windows = Windows(1, 8, (9, 9), window)
    sizes = 16, 81, 72
    some = ScheduleAttr.of(Engine.DENSE, (32, 32), (16, 16), 2)
    product = ScheduledProduct(sizes, some, out_bytes=2, windows=windows)
    conv = Conv(1, 8, 9, 9, 16, (3, 3), pads=(1, 1, 1, 1))
    row = run_conv(conv, machine=SMALL, schedule=some)
    assert Tuner(None, say=lambda _: None)(product, [some], SMALL) == [row["cycles"]]

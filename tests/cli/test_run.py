"""`dstc run`, `compile`, `inspect` as a user types them."""

import html.parser
import json
import subprocess
import sys
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from dstc.backend.isa.assembler import assemble
from dstc.backend.isa.program import Buffer, Launch, Plan, Port
from dstc.runtime.device import Device

from .conftest import Command


def test_json_on_standard_output_stands_alone(dstc: Command, files: Path) -> None:
    done = dstc("run", files / "small.onnx", "--input", files / "x.npy", "--json", "-")
    assert done.code == 0 and done.err == ""
    facts = done.json
    assert facts["schema"] == 1 and facts["machine"] == "dstc" and facts["check"]["ok"]
    assert facts["cycles"] == sum(k["cycles"] for k in facts["kernels"]) > 0
    promised = "name source op engine cycles time_us macs_dense macs_effective ohmma_issued "
    promised += "ohmma_skipped dram_bytes stalls"
    assert set(promised.split()) <= set(facts["kernels"][0])


def test_everything_at_once(dstc: Command, files: Path, tmp_path: Path) -> None:
    out = [tmp_path / "new" / name for name in ("o.json", "o.html", "o.npz")]
    options = ["--json", out[0], "--report", out[1], "--output", out[2], "--compare", "v100"]
    data = files / "data.npz"
    done = dstc("run", files / "small.onnx", "--input", data, "--labels", "y", *options)
    assert done.code == 0
    facts = json.loads(out[0].read_text())
    assert facts["accuracy"]["of"] == 4 and facts["compare"]["v100"]["cycles"] > 0
    assert all(k["dram_bytes"] == k["counters"]["dram_bytes"] for k in facts["kernels"])
    assert np.load(out[2])["y"].shape == (4, 16)
    html.parser.HTMLParser().feed(out[1].read_text())
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 120 and all(line == line.rstrip() for line in lines)
    assert f"total: {facts['cycles']:,} cycles" in done.out


def test_set_changes_every_machine(dstc: Command, files: Path, tmp_path: Path) -> None:
    words = ["run", files / "small.onnx", "--input", files / "data.npz", "--labels", "y"]
    sets = ["--set", "sm.count=2", "--set", "ohmma.latency=30", "--set", "dram.latency=900"]
    done = dstc(*words, *sets, "--compare", "v100", "--json", tmp_path / "o.json",
                "--report", tmp_path / "o.html")  # fmt: skip
    assert done.code == 0, done.err
    both = json.loads((tmp_path / "o.json").read_text())
    assert both["set"] == {"sm.count": 2, "ohmma.latency": 30, "dram.latency": 900}
    assert both["compare"]["v100"]["set"] == {"sm.count": 2, "dram.latency": 900}
    note = "--set ohmma.latency does not apply to v100, which has no such parameter"
    assert note in both["notes"] and f"note: {note}\n" in done.out
    alone = dstc(*words, "--machine", "v100", *sets[:2], *sets[4:], "--json", "-").json
    assert both["compare"]["v100"]["cycles"] == alone["cycles"]
    assert alone["cycles"] != dstc(*words, "--machine", "v100", "--json", "-").json["cycles"]
    title = "on dstc with sm.count=2, ohmma.latency=30, dram.latency=900"
    assert title in done.out.splitlines()[0]
    assert "v100 with sm.count=2, dram.latency=900" in done.out
    report = (tmp_path / "o.html").read_text()
    assert title in report and "v100 with sm.count=2, dram.latency=900" in report
    for name in ("dstc", "v100"):
        assert f"accuracy on {name}: " in done.out
    assert "check against the ONNX reference on dstc, v100: ok" in done.out


def test_set_is_told_everywhere(dstc: Command, files: Path, tmp_path: Path) -> None:
    small, changed = files / "small.onnx", ("--set", "sm.count=2")
    (tmp_path / "k.s").write_text(".kernel k\nEXIT\n.end\n")
    for words in (
        ("compile", small, "-o", tmp_path / "o.bin", "--dim", "n=4"),
        ("inspect", small, "--ir-dir", tmp_path / "ir", "--dim", "n=4"),
        ("bench", "gemm", "-m", "32", "-n", "32", "-k", "16"),
        ("sim", tmp_path / "k.s", "--grid", "1"),
    ):
        done = dstc(*words, *changed, "--json", tmp_path / "o.json")
        assert done.code == 0 and "dstc with sm.count=2" in done.out, (words, done)
        assert json.loads((tmp_path / "o.json").read_text())["set"] == {"sm.count": 2}


def test_a_compiled_program_gives_the_same(dstc: Command, files: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("small.onnx", "small.bin"):
        output = tmp_path / f"{name}.npz"
        done = dstc("run", files / name, "--input", files / "data.npz", "--json", "-",
                    "--output", output)  # fmt: skip
        assert done.code == 0, done.err
        runs.append((done.json["cycles"], np.load(output)["y"].tobytes()))
    assert runs[0] == runs[1]
    assert done.json["check"] is None and "not checked" in done.json["notes"][-1]


def test_functional_mode_has_no_cycles(dstc: Command, files: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    done = dstc("run", files / "small.bin", "--input", files / "x.npy", "--mode", "functional",
                "--report", report)  # fmt: skip
    assert done.code == 0 and "functional mode has no cycles" in done.out
    assert "Functional mode computes values without time" in report.read_text()


BAD = {
    "truncated model": ("truncated.onnx --input random", "damaged"),
    "unsupported operator": ("det.onnx --input random", "operator is not supported"),
    "no such model": ("none.onnx --input random", "No such file"),
    "missing input": ("small.onnx", "input 'x' is missing"),
    "wrong name": ("small.onnx --input z=x.npy", "inputs are x"),
    "wrong name for a program": ("small.bin --input z=x.npy", "inputs are x"),
    "wrong shape": ("small.onnx --input wide.npy", "must be 24, not 25"),
    "wrong shape for a program": ("small.bin --input wide.npy", "4x25"),
    "wrong dtype": ("small.onnx --input text.npy", "the model takes float32"),
    "64 bits": ("small.onnx --input x=double.npy", '.astype("float32")'),
    "64 bits for a program": ("small.bin --input double.npy", "input 'x' has dtype float64"),
    "whole numbers": ("small.onnx --input whole.npy", "int64; the model takes float32"),
    "16 bits": ("half.onnx --input x.npy", "float32; the model takes float16"),
    "no array": ("small.onnx --input garbage.npy", "no .npy or .npz file of numbers"),
    "no such array": ("small.onnx --input none.npy", "no such file"),
    "labels that do not fit": ("small.bin --input x.npy --labels seven.npy", "shape 7"),
    "no such labels": ("small.bin --input x.npy --labels q", "no such array"),
    "unknown machine": ("small.onnx --input x.npy --machine v101", "did you mean 'v100'"),
    "unknown machine to compare": ("small.onnx --input x.npy --compare v101", "'v100'"),
    "a machine twice": ("small.onnx --input x.npy --compare v100,v100", "name it once"),
    "unknown parameter": ("small.onnx --input x.npy --set foo=1", "no parameter 'foo'"),
    "dual on v100": ("small.onnx --input x.npy --machine v100 --engine dual", "no dual-side"),
    "an engine not there": ("small.onnx --input x.npy --engine warp", "invalid choice: 'warp'"),
    "a mode not there": ("small.onnx --input x.npy --mode guess", "invalid choice"),
    "no threads": ("small.onnx --input x.npy --threads 0", "at least 1"),
    "engine of a program": ("small.bin --input x.npy --engine dense", "a program already"),
    "size of a program": ("small.bin --input x.npy --dim n=4", "a program already"),
    "short program": ("short.bin --input x.npy", "300 bytes"),
    "corrupt program": ("corrupt.bin --input x.npy", "damaged"),
    "code of another machine": ("dual.bin --input x.npy --machine v100", "v100 lacks"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(
    case: str, dstc: Command, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    words, message = BAD[case]
    outputs = [tmp_path / name for name in ("o.json", "o.html", "o.npz")]
    done = dstc("run", *words.split(), "--json", outputs[0], "--report", outputs[1],
                "--output", outputs[2])  # fmt: skip
    assert done.code == 2 and done.out == ""
    assert message in done.err and done.err.count("\n") == 1, done.err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_dtype_is_told_before_compiling(
    dstc: Command, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("dstc.compiler.api.compile_module")
    done = dstc("run", files / "small.onnx", "--input", files / "whole.npy")
    assert done.code == 2 and "input 'x' has dtype int64" in done.err


@pytest.mark.parametrize("given", ["random:3", "half.npy"])
def test_a_model_of_16_bits(
    given: str, dstc: Command, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    done = dstc("run", "half.onnx", "--input", given, "--json", "-")
    assert done.code == 0 and done.json["check"]["ok"], done.err


@pytest.mark.parametrize("option", ["--json", "--report", "--output"])
def test_a_place_that_cannot_be_written(option: str, dstc: Command, files: Path) -> None:
    target = files / "x.npy" / "out"
    done = dstc("run", files / "small.onnx", "--input", files / "x.npy", option, target)
    assert done.code == 2 and str(target) in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("level", ["dstc", "dstc,tile"])
def test_compile_to_a_place_that_cannot_be_written(level: str, dstc: Command, files: Path) -> None:
    target = files / "x.npy" / "out"
    done = dstc("compile", files / "small.onnx", "-o", target, "--emit", level)
    assert done.code == 2 and done.err.count("\n") == 1, done.err


def test_a_failed_check_is_1(dstc: Command, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"ok": False, "max_abs_error": float("inf"), "max_rel_error": 1.0, "bound": 0.5}
    monkeypatch.setattr("dstc.compiler.api.compare", lambda *_: bad)
    done = dstc("run", files / "small.onnx", "--input", files / "x.npy")
    assert done.code == 1 and "differ from the ONNX reference" in done.err
    assert "FAILED" in done.out
    assert dstc("run", files / "small.onnx", "--input", files / "x.npy", "--no-check").code == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [("LDG.32 R1, [RZ+64]\nEXIT", "outside every allocation"), ("top: BRA top", "runaway")],
)
def test_a_program_that_traps(
    body: str, message: str, dstc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = partialmethod(Device.__init__, max_instructions=1000)
    monkeypatch.setattr(Device, "__init__", short)
    program = assemble(f".kernel k\n.param x\n{body}\n.end\n")
    program.plan = Plan("m", "dstc", [Buffer("x", "input", (4,), "f32", 4 * 64)])
    program.plan.buffers[0].bytes = 512
    program.plan.steps.append(Launch("k", "k", "test", "", (), (1, 1, 1), ("x",)))
    program.plan.inputs.append(Port("x", (4,), "float32", "x"))
    program.plan.outputs.append(Port("x", (4,), "float32", "x"))
    program.save(tmp_path / "p.bin")
    done = dstc("run", tmp_path / "p.bin", "--input", "random", "--json", tmp_path / "o.json")
    assert done.code == 3 and message in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "o.json").exists()


def test_every_level(dstc: Command, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    levels = "graph,dstc,tile,isa,asm,bin"
    done = dstc("compile", files / "small.onnx", "-o", out, "--dim", "n=4", "--emit", levels,
                "--json", "-")  # fmt: skip
    assert done.code == 0 and [Path(w).exists() for w in done.json["written"]] == [True] * 6
    assert (out / "small.bin").read_bytes() == (files / "small.bin").read_bytes()
    for level, word in (
        ("graph", "dstc.matmul"),
        ("dstc", "#dstc.schedule"),
        ("tile", "dstc_tile.kernel"),
        ("isa", "dstc_isa.kernel"),
    ):
        assert word in (out / f"small.{level}.mlir").read_text()
        assert dstc("compile", files / "small.onnx", "-o", tmp_path / level, "--dim", "n=4",
                    "--emit", level).code == 0  # fmt: skip
        one, many = (tmp_path / level).read_text(), (out / f"small.{level}.mlir").read_text()
        assert one == many
    again = tmp_path / "again.bin"
    text = tmp_path / "again.s"
    assert dstc("asm", out / "small.s", "-o", again).code == 0
    assert dstc("disasm", again, "-o", text).code == 0
    listing = (out / "small.s").read_text()
    assert listing[listing.index(".kernel") :] == text.read_text()


REPLAY = """
import contextlib, io, shlex, sys
from pathlib import Path
from dstc.compiler.opt import main
for name in sys.argv[1:]:
    line = Path(name).read_text().split("\\n")[0]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(shlex.split(line.removeprefix("// dstc-opt "))) == 0, name
    last = Path(sys.argv[-1]).read_text().split("\\n", 1)[1]
    assert out.getvalue().strip() == last.strip(), name
"""


@pytest.mark.parametrize("machine", ["shipped", "set", "file"])
def test_inspect_replays(machine: str, dstc: Command, files: Path, tmp_path: Path) -> None:
    folder, own = tmp_path / "ir", tmp_path / "own.toml"
    own.write_text('name = "one SM"\ninherits = "dstc"\n[sm]\ncount = 1\n')
    options = {"shipped": [], "set": ["--set", "sm.count=1"], "file": ["--machine", own]}[machine]
    options += ["--dim", "n=512"]
    done = dstc("inspect", files / "small.onnx", "--ir-dir", folder, *options, "--json", "-")
    assert done.code == 0, done.err
    assert dstc("compile", files / "small.onnx", "-o", tmp_path / "isa.mlir", "--emit", "isa",
                *options).code == 0  # fmt: skip
    own.unlink()
    names = sorted(folder.glob("*.mlir"))
    assert len(names) == len(done.json["passes"]) + 1
    final = names[-1].read_text().split("\n", 1)[1]
    assert "func.func @main" in final and (tmp_path / "isa.mlir").read_text() == final
    some = [names[0].name, names[len(names) // 2].name, names[-2].name, names[-1].name]
    subprocess.run([sys.executable, "-c", REPLAY, *some], cwd=folder, check=True, timeout=120)


def test_reports_of_the_tables(dstc: Command) -> None:
    good = "isa, isa ohmma, machines, machines dstc, passes, passes fold-constants, pipelines"
    for words in (*good.split(", "), "pipelines tile", "--version"):
        done = dstc(*words.split())
        assert done.code == 0 and done.out and not done.err, words
    for words in ("isa FOO", "machines foo", "passes foo", "pipelines foo", "foo", ""):
        done = dstc(*words.split())
        assert done.code == 2 and done.out == "" and done.err.count("\n") == 1

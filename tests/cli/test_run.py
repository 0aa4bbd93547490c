"""`dstc run`, `compile`, `inspect` as a user types them."""

import html.parser
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dstc.backend.isa.assembler import assemble
from dstc.backend.isa.program import Buffer, Launch, Plan, Port

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
    "no array": ("small.onnx --input garbage.npy", "no .npy or .npz file of numbers"),
    "no such array": ("small.onnx --input none.npy", "no such file"),
    "labels that do not fit": ("small.bin --input x.npy --labels seven.npy", "shape 7"),
    "no such labels": ("small.bin --input x.npy --labels q", "no such array"),
    "unknown machine": ("small.onnx --input x.npy --machine v101", "did you mean 'v100'"),
    "unknown parameter": ("small.onnx --input x.npy --set foo=1", "no parameter 'foo'"),
    "dual on v100": ("small.onnx --input x.npy --machine v100 --engine dual", "no dual-side"),
    "an engine not there": ("small.onnx --input x.npy --engine nm", "invalid choice: 'nm'"),
    "a mode not there": ("small.onnx --input x.npy --mode estimate", "invalid choice"),
    "no threads": ("small.onnx --input x.npy --threads 0", "at least 1"),
    "engine of a program": ("small.bin --input x.npy --engine dense", "a program already"),
    "size of a program": ("small.bin --input x.npy --dim n=4", "a program already"),
    "short program": ("short.bin --input x.npy", "300 bytes"),
    "corrupt program": ("corrupt.bin --input x.npy", "damaged"),
    "code of another machine": ("small.bin --input x.npy --machine v100", "v100 lacks"),
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
    monkeypatch.setattr("dstc.runtime.device.Device.__init__.__defaults__",
                        ("dstc", "cycle", 1, True, 1000, None))  # fmt: skip
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


def test_inspect_replays(dstc: Command, files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ir"
    done = dstc("inspect", files / "small.onnx", "--ir-dir", folder, "--dim", "n=4", "--json", "-")
    assert done.code == 0
    names = sorted(folder.glob("*.mlir"))
    assert len(names) == len(done.json["passes"]) + 1
    final = names[-1].read_text().strip()
    script = """
import contextlib, io, shlex, sys
from pathlib import Path
from dstc.compiler.opt import main
for name in sys.argv[1:]:
    line = Path(name).read_text().split("\\n")[0]
    words = shlex.split(line.removeprefix("// dstc-opt ")) if line.startswith("//") else [name]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(words) == 0, name
    assert out.getvalue().strip() == Path(sys.argv[-1]).read_text().strip(), name
"""
    some = [names[0].name, names[len(names) // 2].name, names[-2].name, names[-1].name]
    subprocess.run([sys.executable, "-c", script, *some], cwd=folder, check=True, timeout=120)
    assert "func.func @main" in final


def test_reports_of_the_tables(dstc: Command) -> None:
    good = "isa, isa ohmma, machines, machines dstc, passes, passes fold-constants, pipelines"
    for words in (*good.split(", "), "pipelines tile", "--version"):
        done = dstc(*words.split())
        assert done.code == 0 and done.out and not done.err, words
    for words in ("isa FOO", "machines foo", "passes foo", "pipelines foo", "foo", ""):
        done = dstc(*words.split())
        assert done.code == 2 and done.out == "" and done.err.count("\n") == 1

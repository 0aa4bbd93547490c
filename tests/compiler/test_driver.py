"""Pipelines: records, IR folders, errors that name the pass."""

from pathlib import Path

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.driver import make_pass, new_context, print_module, run_pipeline
from dstc.compiler.pipelines import pipeline
from dstc.dialects.constants import ConstantPool, attach
from dstc.passes.select_schedule import SelectSchedule
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass

TEXT = """func.func @main(%x : tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = dstc.relu %x : tensor<4x8xf32> -> tensor<4x8xf32>
  %z = dstc.relu %x : tensor<4x8xf32> -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}"""


def parsed(text: str = TEXT) -> tuple[Context, ModuleOp]:
    ctx = new_context()
    return ctx, Parser(ctx, text).parse_module()


def test_records() -> None:
    ctx, module = parsed()
    seen: list[tuple[int, int, str]] = []
    records = run_pipeline(ctx, module, ["cse", "dce"], on_pass=lambda *step: seen.append(step))
    assert seen == [(0, 2, "cse"), (1, 2, "dce")]
    assert records[0].ops_before - records[-1].ops_after == 1
    assert all(r.changed is None and r.seconds >= 0 for r in records)


def test_ir_folder(tmp_path: Path) -> None:
    ctx, module = parsed()
    run_pipeline(*parsed(), ["dce", "cse", "canonicalize"], ir_dir=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    records = run_pipeline(ctx, module, ["cse", "dce"], ir_dir=tmp_path)
    assert [r.changed for r in records] == [True, False]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["00-input.mlir", "01-cse.mlir", "02-dce.mlir", "constants.npz", "notes.txt"]
    first = (tmp_path / "00-input.mlir").read_text()
    assert first.startswith("// dstc-opt 00-input.mlir --constants constants.npz -p cse,dce\n")
    command, last = (tmp_path / "02-dce.mlir").read_text().split("\n", 1)
    assert command == "// dstc-opt 02-dce.mlir --constants constants.npz"
    assert last == print_module(module)
    for name in names[:3]:
        print_module(parsed((tmp_path / name).read_text())[1])
    assert ConstantPool.load(tmp_path / "constants.npz").names() == ()


@pytest.mark.parametrize("name", ["99-mine.mlir", "00-input.mlir", "constants.npz", "machine.toml"])
def test_a_folder_with_files_of_others(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DstcError, match=f"{name}: is no file of an earlier run"):
        run_pipeline(*parsed(), ["cse"], ir_dir=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["dstc", "v1.5", 'half "x"', "true", "3", "a,b{c}'d"])
def test_names_of_machines_in_pipelines(name: str) -> None:
    specs = pipeline("default", machine=name, engine="auto")
    passes = [p for p in map(make_pass, specs) if isinstance(p, SelectSchedule)]
    assert [p.machine for p in passes] == [name]


def test_any_name_of_a_constant(tmp_path: Path) -> None:
    pool = ConstantPool({name: np.ones(2) for name in ("file", "args", "/a/b", "x.npy")})
    pool.save(tmp_path / "c.npz")
    first = (tmp_path / "c.npz").read_bytes()
    again = ConstantPool.load(tmp_path / "c.npz")
    assert again.names() == pool.names()
    again.save(tmp_path / "c.npz")
    assert (tmp_path / "c.npz").read_bytes() == first


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    ctx, module = parsed()
    (tmp_path / "f").write_text("")
    for path, message in ((tmp_path / "f", "is a file"), (tmp_path / "f" / "g", "cannot be made")):
        with pytest.raises(DstcError, match=message):
            run_pipeline(ctx, module, ["cse"], ir_dir=path)


def test_errors_name_the_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DstcError, match="there is no pass 'foo'; `dstc passes` lists them"):
        make_pass("foo")

    class Breaks(ModulePass):
        name = "breaks"

        def apply(self, ctx: Context, op: ModuleOp) -> None:
            for inner in op.walk():
                if inner.name == "dstc.relu":
                    inner.detach()
                    return

    class Refuses(ModulePass):
        name = "refuses"

        def apply(self, ctx: Context, op: ModuleOp) -> None:
            raise DstcError("no such thing")

    table = {"breaks": Breaks, "refuses": Refuses}
    monkeypatch.setattr("dstc.compiler.driver.make_pass", lambda spec: table[spec]())
    ctx, module = parsed()
    with pytest.raises(DstcError, match=r"^refuses: no such thing$"):
        run_pipeline(ctx, module, ["refuses"], ir_dir=tmp_path)
    assert (tmp_path / "00-input.mlir").exists() and (tmp_path / "constants.npz").exists()
    with pytest.raises(DstcError, match=r"^breaks: left invalid IR: "):
        run_pipeline(ctx, module, ["breaks"])


def test_constants_are_those_of_the_context(tmp_path: Path) -> None:
    ctx, module = parsed()
    attach(ctx, ConstantPool({"c": np.ones(3, np.float32)}))
    run_pipeline(ctx, module, [], ir_dir=tmp_path)
    assert ConstantPool.load(tmp_path / "constants.npz").names() == ("c",)

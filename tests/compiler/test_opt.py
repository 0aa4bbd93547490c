"""dstc-opt: errors with a position, files written whole, everything of ours found."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dstc.compiler import opt
from dstc.compiler.opt import OptMain, main
from dstc.dialects.registry import DIALECTS
from dstc.passes.registry import PASSES
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException

GOOD = "func.func @f(%a: i32) -> i32 {\n  func.return %a : i32\n}\n"
BAD_TYPE = "func.func @f(%a: i32) -> i64 {\n  func.return %a : i32\n}\n"


class FailingPass(ModulePass):
    """Fails at the first return."""

    name = "failing"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for op_ in op.walk():
            if op_.name == "func.return":
                self.refuse(op_)

    def refuse(self, op: object) -> None:
        raise PassFailedException("will not")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "m.mlir"


def test_success(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_text(GOOD)
    assert main([str(source)]) == 0
    assert "func.return %a : i32" in capsys.readouterr().out


def test_syntax_error(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_text("func.func @f() {\n\tfunc.rturn\n}\n")
    assert main([str(source)]) == 1
    headline, line, caret = capsys.readouterr().err.rstrip("\n").split("\n")
    assert headline.startswith(f"{source}:2:2: error: ")
    assert (line, caret[:2]) == ("\tfunc.rturn", "\t^")


def test_undefined_value_is_shown_where_it_is_used(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.write_text(GOOD.replace("return %a", "return %b"))
    assert main([str(source)]) == 1
    assert capsys.readouterr().err.startswith(f"{source}:2:15: error: values used but not")


def test_verifier_error_has_a_position(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_text(GOOD + "// -----\n" + BAD_TYPE)
    assert main([str(source), "--split-input-file"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{source}:6:3: error: ")
    assert err.endswith("\n  func.return %a : i32\n  ^\n")


def test_failed_pass_is_named_with_the_position(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(tool: OptMain) -> None:
        tool.register_pass("failing", lambda: FailingPass)

    monkeypatch.setattr(opt.OptMain, "register_all_passes", register)
    monkeypatch.setattr("tempfile.tempdir", str(source.parent))
    source.write_text(GOOD)
    assert main([str(source), "-p", "failing"]) == 1
    assert capsys.readouterr().err.startswith(
        f"{source}:2:3: error: failing: func.return: will not\n"
    )
    with pytest.raises(PassFailedException):
        main([str(source), "-p", "failing", "--debug"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "canonicalise"], "no pass canonicalise; did you mean canonicalize?"),
        (["-p", "canonicalize{="], "--passes canonicalize{=: Expected argument name here"),
        (["-p", "canonicalize{x=1}"], '["x"] not found'),
        (["--constants", "no.npz"], "no.npz: "),
    ],
)
def test_bad_usage_is_one_line(
    words: list[str], message: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.write_text(GOOD)
    assert main([str(source), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("dstc-opt: error: ") and message in err


def test_missing_and_binary_input(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source)]) == 2
    assert capsys.readouterr().err == f"dstc-opt: error: {source}: No such file or directory\n"
    source.write_bytes(b"\x93NUMPY\xff\xfe")
    assert main([str(source)]) == 1
    assert "not UTF-8 text" in capsys.readouterr().err


def test_output_file_is_left_alone_by_an_error(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mlir"
    out.write_text("old")
    source.write_text(BAD_TYPE)
    assert main([str(source), "-o", str(out)]) == 1
    assert out.read_text() == "old"
    source.write_text(GOOD)
    assert main([str(source), "-o", str(out)]) == 0
    assert "func.return" in out.read_text()


def test_stock_xdsl_opt_knows_our_dialects_and_passes() -> None:
    script = """
from xdsl.xdsl_opt_main import xDSLOptMain
tool = xDSLOptMain(args=[])
print(*tool.available_passes, *tool.ctx.registered_dialect_names)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert {*DIALECTS, *PASSES} <= set(done.stdout.split())

"""dstc-opt as a user of mlir-opt expects it: dumps, pipelines, diagnostics, reproducers."""

import asyncio
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from dstc.compiler.opt import main
from dstc.compiler.pipelines import PIPELINES

CHAIN = """
func.func @main(%x: tensor<4x8xf32>) -> tensor<4x16xf32> {
  %w = dstc.constant "w" : tensor<8x16xf32>
  %y = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %r = dstc.relu %y : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %r : tensor<4x16xf32>
}
func.func @other(%a: i32) -> i32 {
  func.return %a : i32
}
"""
PASSES = "cse,fuse-epilogue,canonicalize"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "m.mlir"
    file.write_text(CHAIN)
    return file


def dumps(text: str) -> list[list[str]]:
    """The lines of each dump."""
    return [d.strip().split("\n") for d in text.split("// -----\n") if d.strip()]


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--print-ir-before=fuse-epilogue", ["before pass 2 of 3, fuse-epilogue"]),
        ("--print-ir-after=cse,canonicalize",
         ["after pass 1 of 3, cse", "after pass 3 of 3, canonicalize"]),
        ("--mlir-print-ir-after-change", ["after pass 2 of 3, fuse-epilogue"]),
        ("--print-ir-after-all", [f"after pass {i + 1} of 3, {p}"
                                  for i, p in enumerate(PASSES.split(","))]),
        ("--print-ir-before-all", [f"before pass {i + 1} of 3, {p}"
                                   for i, p in enumerate(PASSES.split(","))]),
    ],
)  # fmt: skip
def test_dumps(option: str, wanted: list[str], source: Path, capsys: Capture) -> None:
    assert main([str(source), "-p", PASSES, option]) == 0
    assert [d[1] for d in dumps(capsys.readouterr().err)] == [f"// IR {w}" for w in wanted]


def test_each_dump_begins_with_the_command_that_goes_on(
    source: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([str(source), "-p", PASSES, "--print-ir-after-all"]) == 0
    final, errors = capsys.readouterr()
    for i, lines in enumerate(dumps(errors)):
        words = shlex.split(lines[0].removeprefix("// "))
        assert words[:2] == ["dstc-opt", "-"]
        file = tmp_path / f"dump{i}.mlir"
        file.write_text("\n".join(lines))
        assert main([str(file), *words[2:]]) == 0
        assert capsys.readouterr().out == final
    whole = tmp_path / "all.mlir"
    whole.write_text(errors)
    assert main([str(whole), "--split-input-file"]) == 0


def test_function_scope_and_symbols(source: Path, capsys: Capture) -> None:
    changed = ["--print-ir-after-change", "--print-ir-scope=function"]
    assert main([str(source), "-p", PASSES, *changed]) == 0
    (dump,) = dumps(capsys.readouterr().err)
    assert "@main" in "".join(dump) and "@other" not in "".join(dump)
    assert main([str(source), "-p", "cse", "--print-ir-after-all", "--print-ir-symbol=other"]) == 0
    (dump,) = dumps(capsys.readouterr().err)
    assert "@other" in "".join(dump) and "@main" not in "".join(dump)


def test_folder_of_files(source: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "ir"
    assert main([str(source), "-p", PASSES, "--mlir-print-ir-tree-dir", str(folder)]) == 0
    names = [f.name for f in sorted(folder.glob("*.mlir"))]
    assert names == ["00-input.mlir", "01-cse.mlir", "02-fuse-epilogue.mlir",
                     "03-canonicalize.mlir"]  # fmt: skip
    first = (folder / names[1]).read_text().split("\n")[0]
    assert first == (
        "// dstc-opt 01-cse.mlir --constants constants.npz -p fuse-epilogue,canonicalize"
    )


def test_passes_as_options_and_mlir_pipelines(source: Path, capsys: Capture) -> None:
    outputs: list[str] = []
    for words in (
        ["-p", "fuse-epilogue,select-schedule{engine=dense}"],
        ["--fuse-epilogue", "--select-schedule=engine=dense"],
        ["--pass-pipeline=builtin.module(func.func(fuse-epilogue),select-schedule{engine=dense})"],
    ):
        assert main([str(source), *words]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2] and "#dstc.schedule<dense" in outputs[0]


def test_pipelines_by_name(source: Path, tmp_path: Path, capsys: Capture) -> None:
    constants = tmp_path / "c.npz"
    np.savez(constants, w=np.ones((8, 16), np.float32))
    given = [str(source), "--constants", str(constants), "--timing"]
    assert main([*given, "-p", "tile{machine=v100 engine=dense}", "--mlir-print-op-generic"]) == 0
    out, err = capsys.readouterr()
    assert '"dstc_tile.kernel"' in out
    rows = [line.split()[-1] for line in err.splitlines()[1:]]
    assert rows == [*(s.split("{")[0] for s in PIPELINES["tile"]), "total"]
    assert main([*given, "-p", "tile{colour=red}"]) == 2
    assert "has no option colour" in capsys.readouterr().err


def test_constants_that_passes_make_are_saved(
    source: Path, tmp_path: Path, capsys: Capture
) -> None:
    constants, saved = tmp_path / "c.npz", tmp_path / "saved.npz"
    np.savez(constants, w=np.ones((8, 16), np.float32))
    words = ["--constants", str(constants), "--save-constants", str(saved)]
    assert main([str(source), *words, "-p", "lower-precision,fold-constants"]) == 0
    named = set(re.findall(r'dstc.constant "([^"]+)"', capsys.readouterr().out))
    assert named and named <= set(np.load(saved).files)


FAILS = """
func.func @main(%x: tensor<4x8xf32>) -> tensor<4x16xf32> {
  %w = dstc.constant "w" : tensor<8x16xf32>
  %y = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  func.return %y : tensor<4x16xf32>
}
"""


def test_failed_pass_leaves_a_reproducer(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    file = tmp_path / "m.mlir"
    file.write_text(FAILS)
    assert main([str(file), "-p", "fuse-epilogue,convert-matmul-to-tile,cse"]) == 1
    message, *_, note = capsys.readouterr().err.strip().split("\n")
    assert message.startswith(f"{file}:4:3: error: convert-matmul-to-tile: ")
    assert "dstc.matmul" in message
    made = Path(note.split()[-1])
    words = shlex.split(made.read_text().split("\n")[0].removeprefix("// "))
    assert words[-1] == "convert-matmul-to-tile,cse"
    monkeypatch.chdir(made.parent)
    assert main(words[1:]) == 1
    again = capsys.readouterr().err
    assert again.split("error: ")[1].split("\n")[0] == message.split("error: ")[1]


BAD = """// RUN: dstc-opt %s --verify-diagnostics
func.func @f(%a: i32) -> i64 {
  // expected-error@below {{function output types}}
  func.return %a : i32
}
// -----
func.func @g(%x: !dstc_isa.reg<3>) { // expected-error {{1, 2, 4, 8 or 16 registers, not 3}}
  func.return
}
// -----
func.func @h(%x: i32) {
  func.rturn
  // expected-error@above {{not registered}}
}
"""


def test_verify_diagnostics(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "m.mlir"
    words = [str(file), "--split-input-file", "--verify-diagnostics"]
    file.write_text(BAD)
    assert main(words) == 0
    assert capsys.readouterr() == ("", "")
    file.write_text(BAD.replace("not registered", "not regular"))
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{file}:12: unexpected error: Operation func.rturn is not registered",
        f'{file}:13: expected error "not regular" did not come',
    ]


@pytest.mark.parametrize(
    ("text", "where", "caret"),
    [
        ("func.func @f(%x: !dstc_isa.reg<3>) {\n  func.return\n}\n", "1:18", "^" * 16),
        ('func.func @f() {\n  %c = "x.y" : i32\n}\n', "2:9", "^^^"),
        ("func.func @f() -> i32 {\n  func.return\n}\n", "2:3", "^"),
    ],
)
def test_errors_have_a_position_and_a_caret(
    text: str, where: str, caret: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "m.mlir"
    file.write_text(text)
    assert main([str(file)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{file}:{where}: error: "), lines
    assert lines[1] == text.split("\n")[int(where[0]) - 1]
    assert lines[2].strip() == caret


def test_gui_opens_with_our_passes(source: Path) -> None:
    from dstc.compiler.gui import build_app

    app = build_app(str(source), "fuse-epilogue")

    async def look() -> str:
        async with app.run_test() as pilot:
            await pilot.pause()
            return app.output_text_area.text

    assert "activation = #dstc<activation relu>" in asyncio.run(look())
    assert {"fuse-epilogue", "verify-registers"} <= {name for name, _ in app.all_passes}

"""Options, output files and errors shared by the subcommands."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from dstc.backend.isa.errors import CheckFailed, DstcError, Trap
from dstc.backend.isa.files import atomic_path, write_atomic
from dstc.compiler.cli.common import (
    Parser,
    add_options,
    guarded,
    key_values,
    write_json,
)


def parse(*words: str) -> Namespace:
    parser = Parser(prog="x")
    sub = parser.add_subparsers(required=True).add_parser("go")
    add_options(sub, "machine", "set", "engine", "mode", "threads", "seed", "check", "json")
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [("--debug", "go"), ("go", "--debug")])
def test_debug_before_and_after_the_command(words: tuple[str, ...]) -> None:
    assert parse(*words).debug


def test_options() -> None:
    args = parse("go", "--set", "a=1", "--set", "b=2", "--no-check", "--mode", "functional")
    assert args.set == ["a=1", "b=2"] and not args.check and args.mode == "functional"
    assert args.machine == "dstc" and args.engine == "auto"


def test_usage_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        parse("go", "--mode", "fast")
    assert e.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("x go: error: argument --mode")


def test_key_values() -> None:
    assert key_values(["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}
    for bad in ("a", "=1"):
        with pytest.raises(DstcError, match="expected KEY=VALUE"):
            key_values([bad])


def test_json_takes_numpy_and_has_no_nan(tmp_path: Path) -> None:
    out = tmp_path / "new" / "o.json"
    obj = {
        "a": np.float32(0.5),
        "b": np.arange(3),
        "c": float("nan"),
        "d": Path("p"),
        "e": (1, {2}),
    }
    write_json(str(out), obj)
    assert json.loads(out.read_text()) == {
        "a": 0.5, "b": [0, 1, 2], "c": None, "d": "p", "e": [1, [2]],
    }  # fmt: skip


def test_json_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_json("-", {"schema": 1})
    assert json.loads(capsys.readouterr().out) == {"schema": 1}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "o"
    out.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(out) as p:
        p.write_text("half")
        raise RuntimeError
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]
    with atomic_path(out) as p:
        p.write_text("new")
    assert out.read_text() == "new" and list(tmp_path.iterdir()) == [out]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "o"):
        with pytest.raises(DstcError, match=str(bad)), atomic_path(bad):
            pass


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    old.chmod(0o600)
    for path in (old, new):
        write_atomic(path, b"x")
    (tmp_path / "plain").write_text("x")
    assert old.stat().st_mode & 0o777 == 0o600
    assert new.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has this device")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(DstcError, match="/dev/full: cannot be written"):
        write_atomic("/dev/full", b"x" * 100_000)


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_path(tmp_path / "link") as p:
        p.write_text("x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "x"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DstcError("bad"), 2, "x: error: bad"),
        (CheckFailed("differs"), 1, "x: error: differs"),
        (Trap("at pc 3"), 3, "x: error: at pc 3"),
        (FileNotFoundError(2, "No such file", "m.onnx"), 2, "x: error: m.onnx: No such file"),
        (
            KeyError("a"),
            1,
            "x: internal error: KeyError: 'a'; run again with --debug for the traceback",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise error

    assert guarded("x", action, debug=False) == code
    assert capsys.readouterr().err.rstrip("\n") == line
    if isinstance(error, Exception):
        with pytest.raises(type(error)):
            guarded("x", action, debug=True)


def test_a_closed_pipe_is_quiet() -> None:
    script = (
        "import sys; from dstc.compiler.cli.common import guarded\n"
        "sys.exit(guarded('x', lambda: [print('y' * 99) for _ in range(99999)] and 0, False))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""
    process.stderr.close()

"""Every op, every verifier error, every pass, option and refusal has its FileCheck test.

In: the dialects, the passes and their sources. Out: what no file of tests/filecheck shows.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from dstc.dialects.registry import get_all_dialects
from dstc.passes.registry import PASSES, get_all_passes

from .conftest import ROOT

FILECHECK = ROOT / "tests" / "filecheck"
TEXTS = {f.relative_to(FILECHECK): f.read_text() for f in FILECHECK.rglob("*.mlir")}
EXPECTED = [
    " ".join(found.split())
    for text in TEXTS.values()
    for found in re.findall(r"expected-error[^{]*\{\{(.*?)\}\}", text)
]
CHECKED = [
    " ".join(re.sub(r"\{\{.*?\}\}", " ", line).split())
    for text in TEXTS.values()
    for line in re.findall(r"// (?!CHECK|RUN)[A-Z-]+: *(.*)", text)
]


ELSEWHERE = {
    "calibration needs a function @main": "dstc-opt takes calibration inputs for whole models",
    "calibration cannot run the model": "wraps what the interpreter says",
    "fits the registers, shared memory and accumulators": "tests/passes/test_choose.py",
    "needs the pattern of its sparse operand": "select-schedule asks for the pattern first",
    "has no kernel in a group of ops by element": "fuse-pointwise forms no such group",
    "has no register; run allocate-registers first": "kernels without registers are refused first",
    "engine takes no transposed operands": "the verifier refuses transposed bitmaps first",
    "does not fall evenly to": "select-schedule offers no such tile",
    "a padded kernel of": "dstc.conv2d of ONNX models; tests/e2e/test_conv.py",
}
"""Refusals that no IR in a file leads to, or not alone, and why."""


def texts_of(folder: str) -> dict[Path, str]:
    return {f: text for f, text in TEXTS.items() if str(f).startswith(folder)}


def raised(file: Path, *classes: str) -> Iterator[tuple[int, list[str]]]:
    """Where errors of these classes are raised, with the constant parts of their messages."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            continue
        name = ast.unparse(node.exc.func).split(".")[-1]
        if name in classes and node.exc.args:
            parts = list(constants(node.exc.args[0]))
            if any(parts):
                yield node.lineno, [p for p in parts if p]


def constants(message: ast.expr) -> Iterator[str]:
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        yield " ".join(message.value.split()).strip(" :=;,`()")
    elif isinstance(message, ast.JoinedStr):
        for value in message.values:
            if isinstance(value, ast.Constant):
                yield from constants(value)
    elif isinstance(message, ast.BinOp):
        yield from constants(message.left)
        yield from constants(message.right)


def shown(parts: list[str]) -> bool:
    """Some expected error has the longest constant part of the message (or a piece of it)."""
    longest = max(parts, key=len)
    return not longest or any(
        longest in text or (len(text) > 12 and text in longest) or
        all(p in text for p in parts if len(p) > 3)
        for text in (*EXPECTED, *CHECKED)
    )  # fmt: skip


@pytest.mark.parametrize("dialect", get_all_dialects())
def test_every_op_goes_round_in_both_forms(dialect: str) -> None:
    files = texts_of(f"dialects/{dialect}/")
    round_trips = "\n".join(t for t in files.values() if "verify-diagnostics" not in t)
    ops = {op.name for op in get_all_dialects()[dialect]().operations}
    missing = {name for name in ops if not re.search(rf"{re.escape(name)}\b", round_trips)}
    assert not missing, f"in no round trip of tests/filecheck/dialects/{dialect}"
    for name, text in files.items():
        if "verify-diagnostics" not in text:
            assert "print-op-generic" in text, f"{name} does not print the generic form"


@pytest.mark.parametrize("file", sorted(f.name for f in (ROOT / "dialects").glob("*.py")))
def test_every_verifier_error_is_shown(file: str) -> None:
    missing = [
        f"{file}:{line}: {' ... '.join(parts)}"
        for line, parts in raised(ROOT / "dialects" / file, "VerifyException")
        if not shown(parts)
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("name", PASSES)
def test_every_option_is_used(name: str) -> None:
    cls = get_all_passes()[name]()
    text = TEXTS[Path("passes") / f"{name}.mlir"]
    runs = "\n".join(line for line in text.splitlines() if "RUN:" in line)
    options = {f.name.replace("_", "-") for f in fields(cls)}
    missing = {o for o in options if not re.search(rf"[{{ =,]{o}(=|[ }}])", runs)}
    assert not missing, f"options of {name} in no RUN line of its test"


def test_every_refusal_of_a_pass_is_shown() -> None:
    others = "\n".join(f.read_text() for f in (ROOT / "tests").rglob("test_*.py"))
    missing: list[str] = []
    for file in sorted((ROOT / "passes").glob("*.py")):
        for line, parts in raised(file, "DstcError", "PassFailedException"):
            longest = max(parts, key=len)
            known = any(e in p for e in ELSEWHERE for p in parts)
            if not shown(parts) and longest[:25] not in others and not known:
                missing.append(f"{file.name}:{line}: {' ... '.join(parts)}")
    assert not missing, "\n".join(missing)

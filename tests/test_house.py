"""The order of the house: who may import whom, what is packaged, what the tables must list.

In: the sources. Out: a failure that names the file and the rule.
"""

import ast
import fnmatch
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dstc.compiler.cli.main import COMMANDS, build_parser
from dstc.dialects.registry import get_all_dialects
from dstc.passes.registry import PASSES, get_all_passes

ROOT = Path(__file__).parents[1]
ROOMS = ("dialects", "backend", "passes", "runtime", "compiler")

ARROWS = {
    "dialects": set[str](),
    "backend": {"dialects"},
    "passes": {"dialects", "backend"},
    "runtime": set[str](),
    "compiler": {"dialects", "backend", "passes", "runtime"},
}
"""Room -> rooms that it may import, besides itself and the leaves."""

LEAVES = (
    "backend.isa",
    "runtime.machine",
    "runtime.formats",
    "runtime.image_format",
    "runtime.nm_format",
    "runtime.host_ops",
    "runtime.lowered",
)
"""Modules that every room may import; they import only each other and numpy."""

THIRD_PARTY = {
    "dialects": {"xdsl", "numpy", "typing_extensions"},
    "backend": {"xdsl", "numpy", "networkx", "typing_extensions"},
    "passes": {"xdsl", "numpy", "networkx", "typing_extensions"},
    "runtime": {"numpy", "numba", "llvmlite", "rich"},  # llvmlite is a part of numba
    "compiler": {
        "xdsl",
        "numpy",
        "networkx",
        "onnx",
        "google",
        "rich",
        "jinja2",
        "matplotlib",
        "torch",
    },
    "leaf": {"numpy"},
}
"""Room -> packages from outside that it may import. google: protobuf, the base of onnx."""

TOP_LEVEL = {
    "pyproject.toml", "compiler", "dialects", "passes", "backend", "runtime", "tests",
    "README.md", "LICENSE", "Makefile", "docs", "examples", "benchmarks", "typings",
}  # fmt: skip
"""The customer's seven, and what a user expects of a repository."""

HEAVY = (
    "numpy", "xdsl", "onnx", "numba", "networkx", "rich", "matplotlib", "jinja2", "torch",
)  # fmt: skip

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources() -> list[Path]:
    return sorted(f for room in ROOMS for f in (ROOT / room).rglob("*.py"))


def name_of(file: Path) -> str:
    """`backend/isa/table.py` -> `backend.isa.table`."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_leaf(module: str) -> bool:
    return any(module == leaf or module.startswith(leaf + ".") for leaf in LEAVES)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every module imported anywhere in `file`, lazily or not."""
    package = name_of(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ["dstc", *package][: len(package) + 2 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                full = ".".join([*base, alias.name])
                yield node.lineno, full if base[0] == "dstc" else ".".join(base)


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_rooms(room: str) -> None:
    wrong: list[str] = []
    for file in (f for f in sources() if name_of(f).split(".")[0] == room):
        leaf = is_leaf(name_of(file))
        outside = sys.stdlib_module_names | THIRD_PARTY["leaf" if leaf else room]
        for line, imported in imports(file):
            top, _, rest = imported.partition(".")
            if top == "dstc":
                target = rest.split(".")[0]
                allowed = is_leaf(rest) or (not leaf and (target == room or target in ARROWS[room]))
            else:
                allowed = top in outside
            if not allowed:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_imports_between_rooms_are_relative() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and node.module
        and node.module.split(".")[0] in {"dstc", *ROOMS}
    ]
    assert not wrong, f"write `from ..room import name` at {wrong}"


def test_top_level() -> None:
    names = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    ignored = [p.strip("/") for p in (ROOT / ".gitignore").read_text().split()]
    names = {n for n in names if not any(fnmatch.fnmatch(n, pattern) for pattern in ignored)}
    assert names <= TOP_LEVEL, f"does not belong at the top level: {names - TOP_LEVEL}"
    assert {"pyproject.toml", "tests", *ROOMS} <= names


def test_every_package_is_listed_and_typed() -> None:
    folders = {f.parent for f in sources()} | {f.parent for f in ROOT.glob("*/**/py.typed")}
    found = {
        "dstc." + ".".join(f.relative_to(ROOT).parts)
        for f in folders
        if f.relative_to(ROOT).parts[0] in ROOMS
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])
    for package in found:
        assert (ROOT.joinpath(*package.split(".")[1:]) / "py.typed").is_file(), package


def test_every_data_file_is_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    wrong = [
        str(f.relative_to(ROOT))
        for room in ROOMS
        for f in (ROOT / room).rglob("*")
        if f.is_file()
        and f.suffix not in {".py", ".pyc", ".nbi", ".nbc"}
        and not any(fnmatch.fnmatch(f.name, p) for p in patterns)
    ]
    assert not wrong, f"add a pattern to package-data in pyproject.toml for {wrong}"


def test_type_checker_sees_every_room() -> None:
    assert {p.name for p in (ROOT / "typings" / "dstc").iterdir()} == set(ROOMS)


def test_no_generic_name_is_importable(tmp_path: Path) -> None:
    script = f"""
import importlib.util
found = [n for n in {("dstc_compiler", *ROOMS)!r} if importlib.util.find_spec(n)]
assert not found, found
assert importlib.util.find_spec("dstc").origin is None, "dstc must be a namespace package"
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import contextlib, io, sys
from dstc.compiler.cli.main import COMMANDS, main
for words in ([], *([c] for c in COMMANDS)):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main([*words, "--help"])
        except SystemExit as e:
            assert e.code == 0, words
    assert "usage: dstc" in out.getvalue(), words
    heavy = [m for m in {HEAVY!r} if m in sys.modules]
    assert not heavy, (words, heavy)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_command_table_is_what_the_modules_add() -> None:
    parser = build_parser()
    (subparsers,) = (a for a in parser._actions if a.choices and not a.option_strings)
    assert set(subparsers.choices or ()) == set(COMMANDS)
    for command in COMMANDS:
        (alone,) = (a for a in build_parser(command)._actions if a.choices and not a.option_strings)
        assert command in (alone.choices or ())


def test_dialects_load_by_name() -> None:
    for name, load in get_all_dialects().items():
        assert load().name == name


def pass_classes() -> Iterator[tuple[Path, str]]:
    """Files of passes/ and the passes in them, found without importing."""
    for file in sorted((ROOT / "passes").glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(base).split(".")[-1] == "ModulePass" for base in node.bases
            ):
                yield file, node.name


def test_every_pass_is_in_the_table() -> None:
    found = {f"{file.stem}:{name}" for file, name in pass_classes()}
    assert found == set(PASSES.values())


@pytest.mark.parametrize("name", PASSES)
def test_pass(name: str) -> None:
    cls = get_all_passes()[name]()
    assert cls.name == name
    assert Path(inspect.getfile(cls)).stem == name.replace("-", "_")
    doc = cls.__doc__ or ""
    assert doc and not doc.startswith(f"{cls.__name__}("), "a pass needs a docstring"
    test = ROOT / "tests" / "filecheck" / "passes" / f"{name}.mlir"
    assert test.is_file(), f"write {test.relative_to(ROOT)}"


def test_names_of_lazy_packages_resolve() -> None:
    for package in ("dstc.compiler", "dstc.runtime"):
        module = importlib.import_module(package)
        for name in module.__all__:
            assert getattr(module, name).__name__ == name


def test_links_between_documents_resolve() -> None:
    wrong: list[str] = []
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                wrong.append(f"{document.relative_to(ROOT)} -> {target}")
    assert not wrong, "\n".join(wrong)

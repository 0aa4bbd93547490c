"""What the subcommands share: options, output files, one-line errors.

In: argparse parsers, objects, paths. Out: the same flags everywhere, files written whole or not
at all, and a process exit code for every exception.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

from ...backend.isa.errors import DstcError, SourceError
from ...backend.isa.files import write_atomic

TUNED = 4
"""Candidates that `--tune` measures if it says no number."""


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least 1")
    return int(text)


_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "machine": (
        ("--machine",),
        {"default": "dstc", "metavar": "NAME|FILE.toml", "help": "machine (default: dstc)"},
    ),
    "set": (
        ("--set",),
        {
            "action": "append",
            "default": [],
            "metavar": "KEY=VALUE",
            "help": "change one machine parameter (see `dstc machines`), or take a feature away: "
            "features.window_64=off; repeatable",
        },
    ),
    "engine": (
        ("--engine",),
        {
            "choices": ("auto", "dense", "nm", "dual"),
            "default": "auto",
            "help": "how products are computed: dense inner product, weight-only n:m, "
            "dual-side sparse outer product; auto lets the cost model choose (default)",
        },
    ),
    "mode": (
        ("--mode",),
        {
            "choices": ("cycle", "functional"),
            "default": "cycle",
            "help": "cycle: timing and values (default); functional: values only",
        },
    ),
    "mode-or-estimate": (
        ("--mode",),
        {
            "choices": ("cycle", "functional", "estimate"),
            "default": "cycle",
            "help": "cycle: timing and values (default); functional: values only; estimate: cycles "
            "in closed form, nothing is simulated",
        },
    ),
    "checks": (
        ("--checks",),
        {
            "choices": ("off", "basic", "full"),
            "default": "basic",
            "help": "what traps beside bounds, alignment and control flow: basic: unwritten "
            "registers, predicates, accumulators (default); full: unwritten memory and "
            "shared-memory races too",
        },
    ),
    "threads": (
        ("--threads",),
        {
            "type": positive,
            "default": None,
            "metavar": "N",
            "help": "host threads that simulate SMs; results do not depend on it "
            "(default: the CPUs available)",
        },
    ),
    "seed": (
        ("--seed",),
        {"type": int, "default": 0, "metavar": "N", "help": "seed of generated data (default: 0)"},
    ),
    "trace": (
        ("--trace",),
        {
            "metavar": "OUT.json|DIR",
            "help": "record what happens when: a timeline for ui.perfetto.dev or chrome://tracing; "
            "with --format accelsim a folder",
        },
    ),
    "format": (
        ("--format",),
        {
            "choices": ("perfetto", "accelsim"),
            "default": "perfetto",
            "help": "of --trace: perfetto (default); accelsim: the executed instructions of "
            "kernels without sparse ones, for that simulator",
        },
    ),
    "trace-kernel": (
        ("--trace-kernel",),
        {
            "metavar": "NAME[,...]",
            "default": "",
            "help": "launches to trace in detail (default: all)",
        },
    ),
    "trace-sm": (
        ("--trace-sm",),
        {
            "metavar": "N[,...]",
            "default": "0",
            "help": "SMs whose instructions and stalls are shown one by one (default: 0)",
        },
    ),
    "trace-window": (
        ("--trace-window",),
        {
            "metavar": "FROM:TO",
            "default": "",
            "help": "cycles of a launch in which they are (default: from its start as far as the "
            "file stays below 20 MB)",
        },
    ),
    "check": (
        ("--check",),
        {
            "action": argparse.BooleanOptionalAction,
            "default": True,
            "help": "compare results with the reference; exit code 1 if they differ (default: on)",
        },
    ),
    "density": (
        ("--density",),
        {
            "action": "append",
            "default": [],
            "metavar": "NAME=D",
            "help": "share of non-zeros, 0 to 1, of an activation (a value's name, or the node of "
            "the product that takes it); repeatable",
        },
    ),
    "calibrate": (
        ("--calibrate",),
        {
            "metavar": "F.npz",
            "help": "inputs by name, on which densities of activations are measured; for "
            "`dstc run` `input` means the run's own",
        },
    ),
    "prune": (
        ("--prune",),
        {
            "metavar": "N:M",
            "help": "prune constant weights of products and convolutions to 2:4 or 4:16 along K, "
            "where K is at least M; the reference of the check is of the pruned model",
        },
    ),
    "explain": (
        ("--explain",),
        {
            "action": "store_true",
            "help": "say for each product what schedules there were, what each is predicted to "
            "take, what limits it, and why the chosen one won",
        },
    ),
    "tune": (
        ("--tune",),
        {
            "type": positive,
            "default": 0,
            "metavar": "N",
            "help": "simulate the N best candidates of each product (4 for --tune alone) and take "
            "the fastest; what was measured is remembered in $XDG_CACHE_HOME/dstc/tune",
        },
    ),
    "lowering": (
        ("--lowering",),
        {
            "choices": ("implicit", "explicit"),
            "default": "implicit",
            "help": "convolutions form windows in their kernel where the engine can (default), or "
            "multiply a lowered matrix that a kernel before them writes",
        },
    ),
    "cache": (
        ("--cache",),
        {
            "action": argparse.BooleanOptionalAction,
            "default": True,
            "help": "take a program that was compiled before from $XDG_CACHE_HOME/dstc/programs, "
            "and keep new ones there (default: on)",
        },
    ),
    "json": (
        ("--json",),
        {"metavar": "FILE", "help": "write the same facts as JSON; - is standard output"},
    ),
}


class Parser(argparse.ArgumentParser):
    """An argument parser with --debug (before or after a subcommand) and one-line errors.

    Subparsers are of the same kind. A usage error exits with code 2.
    """

    def __init__(self, *args: Any, **keywords: Any):
        super().__init__(*args, allow_abbrev=False, **keywords)
        self.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the Python traceback of an error",
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to look it up, and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse; a `--tune` without a number before what is none gets the usual one."""
        words = sys.argv[1:] if args is None else list(args)
        following = [*words[1:], ""]
        words = [
            f"--tune={TUNED}" if word == "--tune" and not after.isdigit() else word
            for word, after in zip(words, following, strict=False)
        ]
        return super().parse_known_args(words, namespace)


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Give `parser` common options by name: machine, set, engine, mode, mode-or-estimate, threads,
    checks, seed, check, density, calibrate, prune, explain, tune, lowering, cache, json."""
    for name in names:
        flags, keywords = _OPTIONS[name]
        parser.add_argument(*flags, **keywords)


def key_values(pairs: Iterable[str], option: str = "--set") -> dict[str, str]:
    """`["a=1", ...]` -> `{"a": "1", ...}`; `DstcError` for a pair without a key or an `=`."""
    result: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            raise DstcError(f"{option} {pair}: expected KEY=VALUE, such as {option} key=1")
        result[key.strip()] = value.strip()
    return result


def densities(text: str, option: str) -> list[float]:
    """Numbers separated by commas; `DstcError` for what is none."""
    found: list[float] = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            raise DstcError(f"{option} {text}: {part!r} is not a number; as in .1,.5,1") from None
    return found


def check_outputs(*paths: str | None) -> None:
    """`DstcError` for a file that could not be written, before any work; nothing is made.

    None and `-` are skipped; missing folders are fine where they can be made.
    """
    for path in paths:
        if not path or path == "-":
            continue
        target = Path(path)
        if target.is_dir():
            raise DstcError(f"{path}: is a directory; give the name of a file")
        folder = next(p for p in target.resolve().parents if p.exists())
        if not folder.is_dir():
            raise DstcError(
                f"{path}: cannot be written ({folder} is no folder); give another place"
            )
        if not os.access(folder, os.W_OK | os.X_OK) and not target.exists():
            raise DstcError(
                f"{path}: cannot be written ({folder} is read-only); give another place"
            )


def write_text(path: str, text: str) -> None:
    """Write `text` to file `path`, whole or not at all; `-` is standard output."""
    if path == "-":
        sys.stdout.write(text)
        return
    write_atomic(path, text.encode())


def write_json(path: str, obj: Any) -> None:
    """Write `obj` as JSON, indented, to file `path`, whole or not at all; `-` is standard output.

    numpy scalars and arrays, sets, paths and dataclasses are allowed; NaN and infinity become null.
    """
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (set, frozenset)):
        return [_plain(v) for v in sorted(cast(set[Any], value))]
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast(list[Any], value)]
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def guarded(program: str, action: Callable[[], int], debug: bool) -> int:
    """Run `action` and return its exit code; an exception becomes one line on standard error.

    Exit codes: that of the `DstcError`; 2 for a file that cannot be read or written; 1 for an
    internal error; 130 for an interrupt, 141 for a closed pipe. With `debug`, errors
    are raised with their traceback.
    """
    try:
        code = action()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as e:
        if debug:
            raise
        message, code = _told(e)
        print(message if isinstance(e, SourceError) else f"{program}: {message}", file=sys.stderr)
        if isinstance(e, DstcError) and e.note is not None and (said := e.note()):
            print(said, file=sys.stderr)
        return code


def _told(error: Exception) -> tuple[str, int]:
    if isinstance(error, SourceError):
        return str(error), error.exit_code
    if isinstance(error, DstcError):
        return f"error: {error}", error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}", 2
    if isinstance(error, MemoryError):
        return "error: out of memory; give a smaller problem or more memory", 2
    what = textwrap.shorten(str(error), 200, placeholder=" ...")
    what = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return f"internal error: {what}; run again with --debug for the traceback", 1

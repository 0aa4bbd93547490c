"""The compile cache: programs on disk, keyed by everything that they are made from.

In: a model and the options of a compilation. Out: `Entry`: its program as it was compiled before,
if it was, and a place for it otherwise. What cannot be read, or is not whole, counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from ..backend.isa.errors import DstcError
from ..backend.isa.files import atomic_path
from ..backend.isa.program import Program
from ..runtime.machine import Machine
from .driver import PassRecord
from .tune import Say, cache_root, machine_stamp, source_stamp

SCHEMA = 1
_PACKAGES = "xdsl", "numpy", "onnx"
"""Whose versions a program hangs on, beside our own sources and the machine."""
_CHUNK = 1 << 24


@dataclass(frozen=True)
class CompileCache:
    """Programs in `folder` (default: `$XDG_CACHE_HOME/dstc/programs`, or that in `~/.cache`).

    The ones used least recently go where all together are more than `limit` bytes. `say` takes a
    line when something cannot be read or written, which is never an error.
    """

    folder: Path = field(default_factory=lambda: cache_root() / "programs")
    limit: int = 4 << 30
    say: Say = lambda line: print(f"cache: {line}", file=sys.stderr)

    def entry(
        self,
        model: str | os.PathLike[str] | bytes | ModelProto,
        machine: Machine,
        options: Mapping[str, Any],
    ) -> Entry | None:
        """The entry of a compilation; None if the model cannot be read, which compiling reports.

        `options` hold what JSON can, and arrays.
        """
        try:
            content = model_stamp(model)
        except (OSError, ValueError):
            return None
        named = isinstance(model, str | os.PathLike)
        facts = {
            "schema": SCHEMA,
            "model": content,
            "name": Path(model).name if named else None,
            "machine": [machine.name, machine_stamp(machine)],
            "options": {name: _plain(value) for name, value in options.items()},
            "source": source_stamp("backend", "compiler", "dialects", "passes", "runtime"),
            "packages": {name: version(name) for name in _PACKAGES},
        }
        text = json.dumps(facts, sort_keys=True)
        return Entry(self, hashlib.sha256(text.encode()).hexdigest())

    def trim(self) -> None:
        """Remove what was used least recently, until the rest is within the limit."""
        found: list[tuple[float, int, Path]] = []
        for file in self.folder.glob("*.dstc"):
            with suppress(OSError):
                facts = file.stat()
                found.append((facts.st_mtime, facts.st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self.limit:
                return
            with suppress(OSError):
                file.unlink()
            total -= size


@dataclass(frozen=True)
class Stored:
    """What the cache keeps of a compilation."""

    program: Program
    notes: tuple[str, ...]
    passes: list[PassRecord]


@dataclass(frozen=True)
class Entry:
    """One compilation's place in the cache: a line of JSON, then the program's container."""

    cache: CompileCache
    key: str

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.cache.folder / f"{self.key}.dstc"

    def load(self) -> Stored | None:
        """What was stored; None if nothing was, or it is damaged."""
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            self.cache.say(f"{self.file}: ignored ({e.strerror})")
            return None
        try:
            line, _, body = data.partition(b"\n")
            head = cast("dict[str, Any]", json.loads(line))
            if head["key"] != self.key:
                raise ValueError("it is of another compilation")
            if head["sha256"] != hashlib.sha256(body).hexdigest():
                raise ValueError("it is not whole")
            notes = tuple(str(note) for note in head["notes"])
            passes = [PassRecord(**record) for record in head["passes"]]
            stored = Stored(Program.from_bytes(body, str(self.file)), notes, passes)
        except (ValueError, KeyError, TypeError, DstcError) as e:
            self.cache.say(f"{self.file}: ignored, no readable entry ({' '.join(str(e).split())})")
            return None
        with suppress(OSError):
            os.utime(self.file)
        return stored

    def save(self, program: Program, notes: Sequence[str], passes: Sequence[PassRecord]) -> None:
        """Store a compilation, whole or not at all."""
        body = program.to_bytes()
        if len(body) > self.cache.limit:
            return
        head = {
            "key": self.key,
            "sha256": hashlib.sha256(body).hexdigest(),
            "notes": list(notes),
            "passes": [asdict(record) for record in passes],
        }
        try:
            with atomic_path(self.file) as temporary, temporary.open("wb") as out:
                out.write(json.dumps(head).encode() + b"\n")
                out.write(body)
        except DstcError as e:
            self.cache.say(f"not stored: {e}")
            return
        self.cache.trim()


def model_stamp(model: str | os.PathLike[str] | bytes | ModelProto) -> str:
    """A hash of a model's bytes, those of its external data included.

    Raises `OSError` or `ValueError` if it cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(model, ModelProto):
        digest.update(model.SerializeToString(deterministic=True))
    elif isinstance(model, bytes):
        digest.update(model)
    else:
        path = Path(model)
        digest.update(path.read_bytes())
        if path.suffix != ".mlir":
            for name in _external(path):
                digest.update(f"\0{name}\0".encode())
                _add(digest, path.parent / name)
    return digest.hexdigest()


def _add(digest: Any, path: Path) -> None:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)


def _external(path: Path) -> list[str]:
    """The files beside a model that hold its data."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)  # pyright: ignore[reportUnknownMemberType]
    except (DecodeError, RuntimeError, TypeError) as e:
        raise ValueError(str(e)) from e
    found: set[str] = set()
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            found |= {e.value for e in tensor.external_data if e.key == "location"}
    return sorted(found)


def _plain(value: Any) -> Any:
    """An option as JSON has it; arrays as their hash."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(cast("NDArray[Any]", value))
        content = hashlib.sha256(array.tobytes()).hexdigest()
        return [array.dtype.str, list(array.shape), content]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {str(k): _plain(v) for k, v in sorted(pairs, key=lambda pair: str(pair[0]))}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in cast("Sequence[Any]", value)]
    return cast("Any", value).item() if isinstance(value, np.generic) else value

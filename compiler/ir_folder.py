"""A folder of IR: numbered files, each with the command that goes on from it.

In: the IR before the first and after every pass, as text. Out: files that parse, constants and the
machine beside them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic
from ..dialects.constants import ConstantPool
from ..runtime.machine import Machine

CONSTANTS_FILE = "constants.npz"
"""Name of the constants beside the IR files of an IR folder."""
MACHINE_FILE = "machine.toml"
"""Name of the machine compiled for, with every change made to it, beside the IR files."""


class IrFolder:
    """Numbered, re-parsable IR files: `00-input.mlir`, `01-fold-constants.mlir`, ...

    Each file's first line is the command that goes on from it. Constants and machine lie beside the
    files. Files of an earlier run are replaced; `DstcError` if a numbered file is somebody else's.
    """

    def __init__(
        self, path: str | os.PathLike[str], specs: Sequence[str], machine: Machine | None = None
    ):
        self.path, self.specs = Path(path), list(specs)
        self.options = f"--constants {CONSTANTS_FILE}"
        if self.path.exists() and not self.path.is_dir():
            raise DstcError(f"{self.path}: is a file; --ir-dir takes a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._clear()
        except OSError as e:
            raise DstcError(f"{self.path}: cannot be made: {e.strerror}") from e
        if machine is not None:
            self.options += f" --machine {MACHINE_FILE}"
            machine.save(self.path / MACHINE_FILE)

    def _clear(self) -> None:
        """Remove an earlier run's files, unless something here is not one."""
        numbered = sorted(self.path.glob("[0-9][0-9]-*.mlir"))
        others = [f for f in numbered if not _written_here(f)]
        if not numbered:
            others = [f for n in (CONSTANTS_FILE, MACHINE_FILE) if (f := self.path / n).exists()]
        if others:
            raise DstcError(
                f"{others[0]}: is no file of an earlier run and would be lost; give another folder"
            )
        for old in numbered:
            old.unlink()

    def file(self, index: int) -> Path:
        """The file of the IR before pass `index`."""
        name = "input" if index == 0 else self.specs[index - 1].split("{")[0]
        return self.path / f"{index:02d}-{name}.mlir"

    def write(self, index: int, text: str) -> None:
        """The IR before pass `index` (from 0), or after the last."""
        rest, file = ",".join(self.specs[index:]), self.file(index)
        passes = f" -p {shlex.quote(rest)}" if rest else ""
        command = f"{_COMMAND} {file.name} {self.options}{passes}\n"
        write_atomic(file, (command + text).encode())

    def write_constants(self, pool: ConstantPool) -> None:
        """The constants that the IR names."""
        pool.save(self.path / CONSTANTS_FILE)


_COMMAND = "// dstc-opt"
"""Start of the first line of each IR file."""


def _written_here(file: Path) -> bool:
    """Whether the first line is the command that `IrFolder` writes."""
    start = f"{_COMMAND} {file.name} ".encode()
    with file.open("rb") as stream:
        return stream.read(len(start)) == start

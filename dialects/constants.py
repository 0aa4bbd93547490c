"""Constants of a module: weights and biases by name, kept beside the IR instead of in it.

In: numpy arrays (or an .npz file). Out: a `ConstantPool` attached to an xDSL `Context`, where
passes, interpreter and packaging look up `dstc.constant` ops.
"""

from __future__ import annotations

import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_npz


class ConstantPool:
    """Named arrays. Names are unique; equal arrays may share one."""

    def __init__(self, arrays: dict[str, NDArray[Any]] | None = None):
        self._arrays: dict[str, NDArray[Any]] = dict(arrays or {})

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            raise DstcError(
                f"constant {name!r} is not in the pool; give the weights with --constants FILE.npz"
            )
        return self._arrays[name]

    def names(self) -> tuple[str, ...]:
        """All names, in order of insertion."""
        return tuple(self._arrays)

    def add(self, name: str, array: NDArray[Any]) -> str:
        """Store `array` under `name`, or under name.1, name.2 ... if taken by other values."""
        candidate, n = name, 0
        while candidate in self._arrays and not _same(self._arrays[candidate], array):
            n += 1
            candidate = f"{name}.{n}"
        self._arrays.setdefault(candidate, array)
        return candidate

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file, whole or not at all."""
        write_npz(path, self._arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ConstantPool:
        """Read an .npz file; `DstcError` if it is none."""
        try:
            with np.load(path, allow_pickle=False) as npz:
                return ConstantPool({name: npz[name] for name in npz.files})
        except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as e:
            raise DstcError(f"{path}: no readable .npz of constants ({e})") from e


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def attach(ctx: Context, pool: ConstantPool) -> None:
    """Make `pool` the constants of `ctx`."""
    ctx.__dict__["dstc_constants"] = pool


def constants_of(ctx: Context) -> ConstantPool:
    """The constants of `ctx`; an empty pool if none were attached."""
    pool = ctx.__dict__.get("dstc_constants")
    return pool if isinstance(pool, ConstantPool) else ConstantPool()

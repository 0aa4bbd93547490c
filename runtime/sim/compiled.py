"""How the simulator's functions are compiled: nopython, no fast math, one cached entry point.

In: a function. Out: the compiled function. The cached code is stamped with a hash of everything it
is made of, so that a change in any of these files, not only in the entry's own, recompiles it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from ...backend.isa import layout, table

# _nrt off: no code here allocates, and counting references of array views costs as much as the rest
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}
_NOT_COMPILED = ("engine.py", "faults.py", "decode.py")


def inline(function: Callable[..., Any]) -> Any:
    """A helper that becomes part of its caller."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def helper(function: Callable[..., Any]) -> Any:
    """A helper compiled once and called."""
    return numba.njit(**_OPTIONS)(function)


def entry(function: Callable[..., Any]) -> Any:
    """An entry point: cached on disk beside the source, or in the user's cache directory."""
    compiled = numba.njit(cache=True, **_OPTIONS)(function)
    store = _store(compiled)
    if hasattr(store, "_source_stamp"):
        store._source_stamp = _stamp()
    return compiled


def must_compile(compiled: Any) -> bool:
    """Whether calling the entry point compiles it: it is neither loaded nor in the cache."""
    index = getattr(_store(compiled), "_load_index", None)
    return not compiled.overloads and index is not None and not index()


def _store(compiled: Any) -> Any:
    return getattr(getattr(compiled, "_cache", None), "_cache_file", None)


@cache
def _stamp() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    own = [p for p in sorted(Path(__file__).parent.glob("*.py")) if p.name not in _NOT_COMPILED]
    for path in (*own, Path(layout.__file__), Path(table.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()

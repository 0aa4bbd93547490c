"""How the simulator's functions are compiled: nopython, no fast math, one cached entry point.

In: a function. Out: the compiled function. The cached code is stamped with a hash of everything it
is made of, so that a change in any of these files, not only in the entry's own, recompiles it.
All but the entry point are compiled to LLVM's input alone: optimised and emitted once, within it.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numba
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from ...backend.isa import layout, table

# _nrt off: no code here allocates, and counting references of array views costs as much as the rest
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}
_NOT_COMPILED = ("engine.py", "faults.py", "decode.py", "timeline.py")


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerPart(NativeLowering):
    """Lower a function that only compiled code calls, and leave it at that.

    numba would optimise and emit it, with all that it calls, for itself and again for each caller.
    """

    _name = "lower_part"

    def run_pass(self, state: Any) -> Literal[True]:
        library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        library._optimize_final_module = lambda: None
        library._finalize_final_module = lambda: setattr(library, "_finalized", True)
        state.library = library
        state.flags.no_compile = True
        super().run_pass(state)
        key = [].copy  # a builtin of its own, as numba wants: it stands for the machine code
        state.targetctx.insert_user_function(key, state.cr.fndesc, [library])
        state.cr = state.cr._replace(cfunc=key)
        return True


class _PartCompiler(CompilerBase):
    """numba's pipeline with `_LowerPart` at its end."""

    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes = pipeline.passes
        pipeline.passes = [(_LowerPart if p is NativeLowering else p, text) for p, text in passes]
        pipeline._finalized = False
        pipeline.finalize()
        return [pipeline]


_ENTRY: dict[str, Any] = {**_OPTIONS, "cache": True, "no_cfunc_wrapper": True}
_PART: dict[str, Any] = {
    **_OPTIONS,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _PartCompiler,
}


def inline(function: Callable[..., Any]) -> Any:
    """A helper that becomes part of its caller."""
    return numba.njit(forceinline=True, **_PART)(function)


def helper(function: Callable[..., Any]) -> Any:
    """A helper compiled once and called."""
    return numba.njit(**_PART)(function)


def entry(function: Callable[..., Any]) -> Any:
    """An entry point: cached on disk beside the source, or in the user's cache directory."""
    compiled = numba.njit(**_ENTRY)(function)
    store = _store(compiled)
    if hasattr(store, "_source_stamp"):
        store._source_stamp = _stamp()
    return compiled


def must_compile(compiled: Any, forms: int = 1) -> bool:
    """Whether calling the entry point may compile it: fewer than `forms` of it, for arguments of
    so many sets of types, are loaded or in the cache."""
    index = getattr(_store(compiled), "_load_index", None)
    return index is not None and max(len(compiled.overloads), len(index())) < forms


def first_call(compiled: Any, *arguments: Any) -> Any:
    """Call an entry point that is perhaps to be compiled: without looking for garbage meanwhile,
    which the compiler's many objects make long."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return compiled(*arguments)
    finally:
        if collecting:
            gc.enable()


def _store(compiled: Any) -> Any:
    return getattr(getattr(compiled, "_cache", None), "_cache_file", None)


@cache
def _stamp() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    own = [p for p in sorted(Path(__file__).parent.glob("*.py")) if p.name not in _NOT_COMPILED]
    for path in (*own, Path(layout.__file__), Path(table.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()

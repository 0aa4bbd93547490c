"""How the simulator is compiled: its parts make no machine code of their own.

In: small functions. Out: their results within a caller, and what numba emitted for them.
"""

from __future__ import annotations

import gc
from typing import Any

import numba
import pytest
from dstc.runtime.sim.compiled import first_call, helper, inline


def _doubled(x: Any) -> Any:
    return x + x


def _squared(x: Any) -> Any:
    return x * x


@pytest.mark.parametrize("kind", [inline, helper])
def test_parts_of_one_signature_are_told_apart_and_not_emitted(kind: Any) -> None:
    doubled, squared = kind(_doubled), kind(_squared)

    def caller(x: int, y: float) -> float:
        return doubled(x) + squared(x) + 0.5 * doubled(y) + squared(y)

    assert numba.njit(caller)(3, 1.5) == 6 + 9 + 1.5 + 2.25
    for part in (doubled, squared):
        assert len(part.overloads) == 2
        for compiled in part.overloads.values():
            engine = compiled.library._codegen._engine
            assert not engine.is_symbol_defined(compiled.fndesc.llvm_func_name)


def test_first_call_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    assert not first_call(gc.isenabled)
    with pytest.raises(ZeroDivisionError):
        first_call(divmod, 1, 0)
    assert gc.isenabled()

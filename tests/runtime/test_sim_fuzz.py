"""Any valid kernel runs to its end or stops with a one-line error, in both modes.

In: random valid kernels. Out: no crash, exact stall sums, the same outcome each time.
"""

from __future__ import annotations

from dataclasses import replace

from dstc.backend.isa.errors import DstcError
from dstc.runtime.device import Device
from hypothesis import given, settings

from ..backend.isa_strategies import kernels
from .sim_kernels import stall_sum


def outcome(kernel, mode: str, checks: str):
    kernel = replace(kernel, warps=1 + kernel.warps % 6, shared_bytes=256)
    roomy = {"accumulator.tiles": 64, "sm.registers": 1 << 17, "sm.count": 4}
    device = Device(mode=mode, checks=checks, max_instructions=300, overrides=roomy)
    base = device.allocate(4096)
    try:
        result = device.launch(kernel, (3, 2, 1), [base] * len(kernel.params))
    except DstcError as error:
        assert "\n" not in str(error)
        return type(error), str(error)
    assert mode == "functional" or stall_sum(device, result)
    return result.cycles, result.stalls, bytes(device.read(base, 4096))


@settings(max_examples=100)
@given(kernels())
def test_random_kernels_never_crash(kernel):
    for mode in ("cycle", "functional"):
        for checks in ("off", "basic", "full"):
            assert outcome(kernel, mode, checks) == outcome(kernel, mode, checks)

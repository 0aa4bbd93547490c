"""Liveness of values: which are still needed at each block's ends.

In: the `Flow` of a kernel. Out: numbered values, and bit sets (Python integers, bit i is value i)
of those live into and out of each block.

Registers are per lane and an instruction writes only the lanes it runs in, so liveness along a
lane's own path is enough where a warp diverges: the other side's lanes cannot overwrite it. An
instruction that reads other lanes (HMMA, SPWMMA, OHMMA, BOHMMA) sees values only of active lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from .cfg import Flow, edges


@dataclass(frozen=True)
class Liveness:
    """Values by number, and the numbers of the values live into and out of each block."""

    values: tuple[SSAValue, ...]
    number: dict[SSAValue, int]
    live_in: tuple[int, ...]
    """By index in the flow; a block's arguments do not count as live into it."""
    live_out: tuple[int, ...]
    """Includes the values that the terminator passes on."""

    @staticmethod
    def of(flow: Flow) -> Liveness:
        """Liveness in the kernel whose control flow is `flow`."""
        values: list[SSAValue] = []
        for block in flow.blocks:
            values.extend(block.args)
            for op in block.ops:
                values.extend(op.results)
        number = {value: i for i, value in enumerate(values)}
        upward: list[int] = []  # used before any definition in the block
        defined: list[int] = []
        passed: list[int] = []  # by the terminator to successors' arguments
        for block in flow.blocks:
            need = 0
            own = 0
            for arg in block.args:
                own |= 1 << number[arg]
            for op in block.ops:
                for value in op.operands:
                    bit = 1 << number[value]
                    if not own & bit:
                        need |= bit
                for value in op.results:
                    own |= 1 << number[value]
            upward.append(need)
            defined.append(own)
            passed.append(sum(1 << number[v] for v in {v for _, vs in edges(block) for v in vs}))
        live_in, live_out = list(upward), list(passed)
        changed = True
        while changed:
            changed = False
            for block in reversed(range(len(flow.blocks))):
                out = passed[block]
                for successor in flow.successors[block]:
                    out |= live_in[successor]
                into = upward[block] | (out & ~defined[block])
                changed |= out != live_out[block] or into != live_in[block]
                live_out[block], live_in[block] = out, into
        return Liveness(tuple(values), number, tuple(live_in), tuple(live_out))


def bits(number: int) -> list[int]:
    """Positions of the ones in `number`, ascending."""
    found: list[int] = []
    while number:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    return found

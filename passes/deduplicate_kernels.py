"""deduplicate-kernels: launches of equal kernels share one.

In: `dstc_tile` kernels and launches. Out: the same launches of the first kernel of each kind; the
others are gone, so that they are compiled once and stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.passes import ModulePass

from ..dialects import dstc_tile as tile


def _fingerprint(kernel: tile.KernelOp) -> tuple[object, ...]:
    """Equal for kernels that differ in name, origin and names of values at most."""
    numbers: dict[SSAValue, int] = {}
    found: list[object] = [kernel.grid, kernel.params, kernel.warps, kernel.shared, kernel.acc]

    def block(of: Block) -> None:
        for arg in of.args:
            numbers[arg] = len(numbers)
            found.append(arg.type)
        for op in of.ops:
            operands = tuple(numbers[v] for v in op.operands)
            types = tuple(r.type for r in op.results)
            found.append((op.name, operands, types, _items(op.properties), _items(op.attributes)))
            for result in op.results:
                numbers[result] = len(numbers)
            for region in op.regions:
                for inner in region.blocks:
                    block(inner)

    block(kernel.body.block)
    return tuple(found)


def _items(attributes: Mapping[str, Attribute]) -> tuple[tuple[str, Attribute], ...]:
    return tuple(sorted(attributes.items(), key=lambda item: item[0]))


@dataclass(frozen=True)
class DeduplicateKernels(ModulePass):
    """Let launches of equal kernels share one."""

    name = "deduplicate-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        first: dict[tuple[object, ...], str] = {}
        shared: dict[str, str] = {}
        for kernel in [o for o in op.body.block.ops if isinstance(o, tile.KernelOp)]:
            name = kernel.sym_name.data
            kept = first.setdefault(_fingerprint(kernel), name)
            if kept != name:
                shared[name] = kept
                op.body.block.erase_op(kernel)
        for launch in op.walk():
            if isinstance(launch, tile.LaunchOp) and launch.kernel.data in shared:
                launch.properties["kernel"] = StringAttr(shared[launch.kernel.data])

"""An ONNX node as converters read it: inputs by position, attributes by name.

In: a NodeProto and the draft that its inputs are in. Out: `Node`, with aliases resolved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, NodeProto, TensorProto, helper

from ...backend.isa.errors import DstcError
from .draft import Draft


@dataclass(frozen=True)
class Node:
    """An ONNX node with aliases resolved: `inputs` has "" for an omitted one."""

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: dict[str, Any]
    outputs: tuple[str, ...] = ()
    opset: int = 0

    @staticmethod
    def of(proto: NodeProto, draft: Draft, opset: int = 0) -> Node:
        """Read a node; strings are decoded, names resolved."""
        return Node(
            node_name(proto),
            proto.op_type,
            tuple(draft.resolve(i) for i in proto.input),
            proto.output[0],
            {a.name: _attribute(a) for a in proto.attribute},
            tuple(proto.output),
            opset,
        )

    def optional(self, index: int) -> str | None:
        """An input, or None if it is omitted."""
        return (self.inputs[index] or None) if index < len(self.inputs) else None

    def ints(self, key: str, default: Sequence[int]) -> tuple[int, ...]:
        """An attribute of integers."""
        return tuple(int(v) for v in self.attrs.get(key, default))

    def number(self, key: str, default: float) -> float:
        """An attribute that is a number."""
        return float(self.attrs.get(key, default))

    def flag(self, key: str, default: bool = False) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self.attrs.get(key, default))

    def axis(self, rank: int, default: int) -> int:
        """The attribute `axis`, counted from the front."""
        axis = int(self.attrs.get("axis", default))
        if not -rank <= axis < rank:
            raise DstcError(f"axis {axis} is none of the {rank} dimensions")
        return axis % rank

    def constant_ints(self, draft: Draft, index: int, what: str) -> tuple[int, ...] | None:
        """An input that must be constant integers; None if it is omitted."""
        value = self.optional(index)
        if value is None:
            return None
        if value not in draft.constants:
            raise DstcError(f"{what} is computed from values; it must be constant")
        return tuple(int(v) for v in draft.constants[value].reshape(-1))


def node_name(proto: NodeProto) -> str:
    """The node's name, or its first output's if it has none."""
    return proto.name or next((o for o in proto.output if o), proto.op_type)


def type_name(code: int) -> str:
    """ONNX's name of an element type, or its number if it has none."""
    return dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True)).get(
        code, f"type {code}"
    )


def _attribute(attr: AttributeProto) -> Any:
    value: Any = helper.get_attribute_value(attr)
    if attr.type == AttributeProto.STRINGS:
        return [text.decode() for text in value]
    return value.decode() if isinstance(value, bytes) else value

"""Small ONNX models for tests: a list of nodes in, a ModelProto out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

Shape = Sequence[int | str | None]


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str] = ("y",),
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    opset: int = 20,
    dtype: int = TensorProto.FLOAT,
    output_shape: Shape | None = None,
    **graph: Any,
) -> ModelProto:
    """A model with `inputs` (shapes) and `constants` (arrays) by name.

    The outputs' shape is inferred unless it is given.
    """
    proto = helper.make_model(
        helper.make_graph(
            list(nodes),
            "test",
            [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, dtype, output_shape) for n in outputs],
            [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()],
            **graph,
        ),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)],
        ir_version=10,
    )
    inferred = shape_inference.infer_shapes(proto, data_prop=True)
    for value in inferred.graph.output:
        value.type.tensor_type.shape.SetInParent()  # the checker wants one
    del inferred.graph.value_info[:]
    return inferred


def node(op: str, inputs: Sequence[str], output: str = "y", **attrs: Any) -> NodeProto:
    """A node named after its output."""
    return helper.make_node(op, list(inputs), [output], name=f"node_{output}", **attrs)


def random(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Normal values in f32, a third of them zero."""
    values = rng.standard_normal(shape).astype(np.float32)
    return np.where(rng.random(shape) < 1 / 3, np.float32(0), values)

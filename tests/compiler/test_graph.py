"""The model graph as data, and the IR that it becomes."""

import networkx as nx
import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.graph import ModelGraph, OpNode, Port, ValueInfo
from dstc.compiler.reference import main_of, run_module
from dstc.dialects.constants import ConstantPool, attach, constants_of
from dstc.dialects.dstc import MatmulOp, source_of
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, StringAttr

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def residual() -> ModelGraph:
    """y = relu(x w + x w), with the nodes out of order."""
    f32 = "float32"
    return ModelGraph(
        "residual",
        [
            OpNode("relu", "relu", ("s",), "y", {}, ("relu_0",)),
            OpNode("sum", "add", ("p", "p"), "s", {}, ("add_0",)),
            OpNode("product", "matmul", ("x", "w"), "p", {}, ("fc.1", "scale")),
        ],
        values={
            **{v: ValueInfo((4, 3), f32) for v in ("p", "s", "y")},
            "x": ValueInfo((4, 2), f32),
            "w": ValueInfo((2, 3), f32),
        },
        constants={"w": WEIGHTS},
        inputs=[Port("x", "x", (4, 2), "float16")],
        outputs=[Port("y", "y", (4, 3), f32), Port("product", "p", (4, 3), f32)],
    )


def test_the_graph_is_networkx():
    graph = residual()
    assert isinstance(graph.digraph, nx.DiGraph) and len(graph) == 3
    assert [n.name for n in graph.topological()] == ["product", "sum", "relu"]
    assert graph.digraph.edges["product", "sum"]["value"] == "p"
    assert graph.digraph.nodes["product"]["op"] == "matmul"
    assert graph.digraph.nodes["product"]["onnx_nodes"] == ("fc.1", "scale")
    assert graph.node("sum").inputs == ("p", "p")


def test_module_names_types_and_sources():
    ctx = Context()
    module = residual().to_module(ctx)
    main = main_of(module)

    def strings(key: str) -> list[str]:
        attr = main.attributes[key]
        assert isinstance(attr, ArrayAttr)
        return [a.data for a in attr.data]

    assert module.attributes["dstc.model"] == StringAttr("residual")
    assert strings("dstc.inputs") == ["x"] and strings("dstc.outputs") == ["y", "product"]
    assert strings("dstc.input_types") == ["float16"]
    assert strings("dstc.output_types") == ["float32", "float32"]
    (product,) = (op for op in module.walk() if isinstance(op, MatmulOp))
    assert source_of(product) == ("fc.1", "scale")
    assert constants_of(ctx).names() == ("w",)


def test_module_runs():
    ctx = Context()
    module = residual().to_module(ctx)
    x = np.array([[1, -2], [0, 0], [-1, 1], [3, 4]], np.float32)
    y, product = run_module(module, ctx, [x])
    np.testing.assert_array_equal(product, x @ WEIGHTS)
    np.testing.assert_array_equal(y, np.maximum(2 * (x @ WEIGHTS), 0))


def test_constants_do_not_overwrite_others_in_the_pool():
    ctx = Context()
    attach(ctx, ConstantPool({"w": np.zeros((7,), np.float32)}))
    module = residual().to_module(ctx)
    assert constants_of(ctx).names() == ("w", "w.1")
    assert run_module(module, ctx, [np.ones((4, 2), np.float32)])[1].any()


def test_a_cycle_is_refused():
    with pytest.raises(DstcError, match="loop: the graph has a cycle"):
        ModelGraph(
            "loop",
            [OpNode("a", "relu", ("v",), "w"), OpNode("b", "relu", ("w",), "v")],
            values={},
            constants={},
            inputs=[],
            outputs=[],
        )


def test_inputs_that_do_not_fit():
    ctx = Context()
    module = residual().to_module(ctx)
    with pytest.raises(DstcError, match="takes 1 inputs, not 2"):
        run_module(module, ctx, [WEIGHTS, WEIGHTS])
    with pytest.raises(
        DstcError, match=r"input 0 has the shape \(2, 3\), but @main takes \(4, 2\)"
    ):
        run_module(module, ctx, [WEIGHTS])

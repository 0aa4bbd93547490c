"""Build a sparse two-layer network with `onnx.helper`, compile it and run it, all from Python.

In: nothing. Out: cycles of the dense and the dual-side engine, each result checked against ONNX's
reference evaluator.

    python examples/mlp/mlp.py
"""

import numpy as np
from dstc.compiler import compile_model
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

BATCH, INPUTS, HIDDEN, OUTPUTS = 64, 256, 256, 64
DENSITY = 0.1


def sparse(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Normal values, of which the share DENSITY is not zero."""
    return (rng.standard_normal(shape) * (rng.random(shape) < DENSITY)).astype(np.float32)


def mlp(rng: np.random.Generator) -> ModelProto:
    """x (BATCH, INPUTS) -> relu(x @ w1 + b1) @ w2 + b2 (BATCH, OUTPUTS)."""
    weights = {
        "w1": sparse(rng, INPUTS, HIDDEN),
        "b1": np.zeros(HIDDEN, np.float32),
        "w2": sparse(rng, HIDDEN, OUTPUTS),
        "b2": np.zeros(OUTPUTS, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="second"),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [BATCH, OUTPUTS])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def main() -> None:
    rng = np.random.default_rng(0)
    model = mlp(rng)
    x = sparse(rng, BATCH, INPUTS)
    for engine in ("dense", "dual"):
        compiled = compile_model(model, engine=engine)
        result = compiled.run(x)
        check = compiled.check(x, result)
        print(
            f"{engine:6} {result.cycles:8} cycles  {'ok' if check['ok'] else 'WRONG'}: "
            f"largest error {check['max_abs_error']:.1e}, allowed {check['bound']:.1e}"
        )
        for kernel in result.kernels:
            print(f"       {kernel.result.cycles:8} cycles  {kernel.launch.name}")


if __name__ == "__main__":
    main()

"""ONNX models by hand: nodes one after the other, random weights pruned to a density.

In: sizes. Out: `Net.model()`, a checked ModelProto; `main`, which compiles it, runs it on two
machines and prints where the time goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]


class Net:
    """A graph under construction; a value is its name."""

    def __init__(self, seed: int = 0, density: float = 1.0):
        self.rng = np.random.default_rng(seed)
        self.density = density
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(self, name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT) -> str:
        """A model input."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value: str, dtype: int = TensorProto.FLOAT) -> None:
        """A model output."""
        self.outputs.append(helper.make_tensor_value_info(value, dtype, None))

    def constant(self, array: Array | Sequence[int] | float, name: str = "c") -> str:
        """A constant."""
        value = np.asarray(array, np.float32 if isinstance(array, float) else None)
        name = f"{name}{len(self.constants)}"
        self.constants[name] = value
        return name

    def weight(self, *shape: int, fan: int | None = None, dense: bool = False) -> str:
        """Random weights, of which all but the largest `density` are zero."""
        fan = fan or int(np.prod(shape[1:])) or shape[0]
        values = (self.rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)
        if not dense and self.density < 1:
            kept = np.quantile(np.abs(values), 1 - self.density)
            values = np.where(np.abs(values) >= kept, values, np.float32(0))
        return self.constant(values, "w")

    def vector(self, size: int, around: float = 0.0) -> str:
        """A bias or scale."""
        return self.constant(
            (around + 0.1 * self.rng.standard_normal(size)).astype(np.float32), "b"
        )

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; its output, or outputs."""
        names = [f"{op.lower()}{len(self.nodes)}" + (f".{i}" if i else "") for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, f"{op}_{len(self.nodes)}", **attributes)
        )
        return names if outputs > 1 else names[0]

    def model(self, name: str = "net", opset: int = 20) -> ModelProto:
        """The model, its types inferred."""
        from onnx import shape_inference

        tensors = [numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, tensors)
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10
        )
        return shape_inference.infer_shapes(proto, strict_mode=True)


Feeds = dict[str, Array]


def main(build: Callable[..., tuple[ModelProto, Feeds]], **sizes: int | float) -> None:
    """Compile and run what `build` makes; every size is an option."""
    from dstc.compiler import compile_model

    parser = argparse.ArgumentParser(description=build.__doc__)
    for key, value in sizes.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--machine", default="dstc,v100")
    parser.add_argument("--save", metavar="FILE.onnx", help="write the model and stop")
    args = vars(parser.parse_args())
    machines, save = args.pop("machine").split(","), args.pop("save")
    proto, feeds = build(**args)
    if save:
        import onnx

        onnx.save(proto, save)
        return
    for machine in machines:
        compiled = compile_model(proto, machine=machine)
        result = compiled.run(feeds)
        check = compiled.check(feeds, result)
        print(
            f"{machine}: {result.cycles:,} cycles, {result.time_us:.1f} us, "
            f"{len(result.kernels)} kernels, compiled in {compiled.seconds:.1f} s, run in "
            f"{result.wall_seconds:.1f} s; host operators: {len(result.host_ops)}; "
            f"error {check['max_abs_error']:.2e}, bound {check['bound']:.2e}, ok {check['ok']}"
        )
        for kernel in result.kernels:
            share = kernel.result.cycles / result.cycles
            densities = [d for d in (kernel.a_density, kernel.b_density) if d is not None]
            what = " ".join(f"{d:.2f}" for d in densities)
            print(
                f"  {kernel.launch.name:40.40} {kernel.launch.engine or '':6} {what:10} "
                f"{kernel.result.cycles:>10,} {share:6.1%}"
            )

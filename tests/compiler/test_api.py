"""Models to results: `compile_model`, `Compiled`, `load_program`, and the package between."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.program import HostStep, Launch, Program
from dstc.compiler.api import Compiled, compile_model, load_program
from dstc.compiler.package import package
from dstc.runtime import Device, Machine
from dstc.runtime.formats import Bitmap

from .onnx_models import model, node, random

RNG = np.random.default_rng(5)
W = random(RNG, 24, 40)
NET = [
    node("Conv", ["x", "k"], "c", pads=[1] * 4),
    node("Relu", ["c"], "r"),
    node("MaxPool", ["r"], "p", kernel_shape=[2, 2], strides=[2, 2]),
    node("Flatten", ["p"], "f", axis=1),
    node("MatMul", ["f", "w"], "m"),
    node("Add", ["m", "b"], "y"),
]
CONSTANTS = {"k": random(RNG, 6, 3, 3, 3), "w": random(RNG, 24, 10), "b": random(RNG, 10)}
X = random(RNG, 5, 3, 4, 4)


@pytest.fixture(scope="module")
def net() -> Compiled:
    return compile_model(model(NET, {"x": X.shape}, constants=CONSTANTS))


@pytest.mark.parametrize(("machine", "engine"), [("dstc", "dual"), ("dstc", "dense"),
                                                 ("v100", "auto")])  # fmt: skip
def test_engines_agree_with_onnx(machine: str, engine: str) -> None:
    compiled = compile_model(
        model(NET, {"x": X.shape}, constants=CONSTANTS), machine=machine, engine=engine
    )
    result = compiled.run(X, mode="functional")
    assert compiled.check(X, result)["ok"]
    products = [k for k in result.kernels if k.launch.macs_dense]
    assert {k.launch.engine for k in products} == {"dual" if engine == "dual" else "dense"}
    assert all(0 < k.macs_effective < k.launch.macs_dense for k in products)


def test_a_wrong_result_is_found(net: Compiled) -> None:
    result = net.run(X, mode="functional", statistics=False)
    assert result.kernels[-1].operands is None
    result.outputs["y"] = result.outputs["y"] + np.float32(1)
    check = net.check(X, result)
    assert not check["ok"] and check["max_abs_error"] == pytest.approx(1, rel=0.1)


def test_what_compiled_keeps(net: Compiled) -> None:
    assert net.graph is not None and net.module is not None and net.seconds > 0
    assert net.passes[0].spec == "fold-constants"
    assert net.machine.name == "dstc" and net.engine == "auto"


def test_a_device_serves_twice(net: Compiled) -> None:
    device = Device("dstc")
    first, second = net.run(X, device=device), net.run({"x": X}, device=device)
    np.testing.assert_array_equal(first.outputs["y"], second.outputs["y"])
    assert second.cycles < first.cycles  # what L2 keeps


def test_program_files(net: Compiled, tmp_path: Path) -> None:
    net.program.save(tmp_path / "net.bin")
    loaded = load_program(tmp_path / "net.bin")
    assert loaded.machine.name == "dstc" and loaded.graph is None
    a, b = (c.run(X) for c in (net, loaded))
    np.testing.assert_array_equal(a.outputs["y"], b.outputs["y"])
    assert [k.to_json() for k in a.kernels] == [k.to_json() for k in b.kernels]
    Program(net.program.kernels).save(tmp_path / "bare.bin")
    with pytest.raises(DstcError, match="no launch plan; run them with `dstc sim`"):
        load_program(tmp_path / "bare.bin")


def test_the_plan(net: Compiled) -> None:
    plan = net.program.plan
    assert plan is not None
    assert [(p.name, p.shape, p.dtype) for p in plan.inputs] == [("x", X.shape, "float32")]
    assert [(p.name, p.shape) for p in plan.outputs] == [("y", (5, 10))]
    assert not [s for s in plan.steps if isinstance(s, HostStep)]
    assert [s.source for s in plan.steps if isinstance(s, Launch) and "pool2d" in s.op]
    products = [s for s in plan.steps if isinstance(s, Launch) and s.macs_dense]
    assert [p.source[0] for p in products] == ["node_c", "node_m"]
    assert products[0].macs_dense == 6 * 27 * 5 * 16 and products[1].macs_dense == 5 * 24 * 10
    kinds = {b.name: b.kind for b in plan.buffers}
    assert sorted(kinds.values()).count("input") == 1 and kinds[plan.outputs[0].buffer] == "output"


def test_weights_are_encoded_once() -> None:
    x, proto = random(RNG, 8, 24), model([node("MatMul", ["x", "w"])], {"x": [8, 24]},
                                         constants={"w": W})  # fmt: skip
    program = compile_model(proto, engine="dual").program
    assert program.plan is not None
    (buffer,) = (b for b in program.plan.buffers if b.kind == "constant" and b.bitmap)
    info: dict[str, Any] = buffer.bitmap or {}
    assert buffer.data is not None
    image = Bitmap.from_bytes(
        program.data[buffer.data], info["vectors"], info["depth"], info["side"]
    )
    assert image.density == pytest.approx(np.count_nonzero(W.astype(np.float16)) / W.size)
    assert Compiled(program, Machine.load("dstc")).run(x).outputs["y"].shape == (8, 40)


def test_what_cannot_be_packaged() -> None:
    from dstc.compiler.driver import new_context
    from dstc.dialects.constants import ConstantPool
    from xdsl.parser import Parser

    ctx = new_context()
    relu = """func.func @main(%x : tensor<4x8xf32>) -> tensor<4x8xf32> {
      %y = dstc.relu %x : tensor<4x8xf32> -> tensor<4x8xf32>
      func.return %y : tensor<4x8xf32>
    }"""
    for text, message in ((relu, "dstc.relu is left without a kernel"),
                          ("builtin.module {}", "no function @main")):  # fmt: skip
        with pytest.raises(DstcError, match=message):
            package(Parser(ctx, text).parse_module(), ConstantPool(), None, "dstc", "m")


def test_users_errors() -> None:
    proto = model([node("MatMul", ["x", "w"])], {"x": ["n", 24]}, constants={"w": W})
    with pytest.raises(DstcError, match="no dual-side tensor core"):
        compile_model(proto, machine="v100", engine="dual", dims={"n": 2})
    with pytest.raises(DstcError, match="input 'x' has shape 3x24; the program takes 2x24"):
        compile_model(proto, dims={"n": 2}).run(np.zeros((3, 24), np.float32))

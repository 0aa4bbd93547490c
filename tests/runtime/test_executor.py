"""Whole programs on a device: plans built by hand, no compiler."""

import numpy as np
import pytest
from dstc.backend.isa.assembler import assemble
from dstc.backend.isa.errors import DstcError, Trap
from dstc.backend.isa.layout import DenseLayout
from dstc.backend.isa.program import Buffer, HostStep, Launch, Plan, Port, Program
from dstc.runtime import Device
from dstc.runtime.executor import run_program
from dstc.runtime.layers import limit_of

DOUBLE = """
.kernel double
.warps 2
.param x
.param y
S2R R0, SR_TID
SHL R0, R0, 2
IADD3 R1, R0, c[x], RZ
IADD3 R2, R0, c[y], RZ
LDG.32 R3, [R1]
FADD R3, R3, R3
STG.32 [R2], R3
EXIT
.end
"""
SHAPE = (2, 16)


def program(*steps: Launch | HostStep) -> Program:
    """y = 2 x, then h by `steps`; constants c = 1."""
    result = assemble(DOUBLE)
    layout = DenseLayout.of(SHAPE, 4)
    plan = Plan("by hand", "dstc")
    for name, kind in (("x", "input"), ("c", "constant"), ("y", "output"), ("z", "temporary")):
        plan.buffers.append(Buffer(name, kind, SHAPE, "f32", layout.bytes))
    plan.buffers[1].data = "ones"
    image = np.zeros((layout.padded_rows, layout.pitch), np.float32)
    image[: SHAPE[0], : SHAPE[1]] = 1
    result.data["ones"] = image.tobytes()
    plan.inputs.append(Port("x", SHAPE, "float32", "x"))
    plan.outputs.append(Port("y", SHAPE, "float32", "y"))
    plan.steps += steps
    result.plan = plan
    result.validate()
    return result


def launch(*args: str | int) -> Launch:
    return Launch("double", "double", "test", "", ("node",), (1, 1, 1), args)


@pytest.fixture
def x() -> np.ndarray:
    return np.arange(32, dtype=np.float32).reshape(SHAPE)


def test_upload_launch_download(x: np.ndarray) -> None:
    assert DenseLayout.of(SHAPE, 4).pitch == 32  # lanes 0..15 of warp w have row w
    seen: list[tuple[int, int, str]] = []
    device = Device("dstc")
    result = run_program(
        program(launch("x", "y")), device, {"x": x}, progress=lambda *step: seen.append(step)
    )
    np.testing.assert_array_equal(result.outputs["y"], 2 * x)
    assert seen == [(0, 1, "double")]
    (k,) = result.kernels
    assert result.cycles == k.result.cycles > 0 and result.warp_instructions == 16
    row = k.to_json()
    assert row["source"] == ["node"] and row["engine"] is None and row["a_density"] is None
    assert row["dram_bytes"] == row["counters"]["dram_bytes"] > 0
    assert sum(row["stalls"].values()) == row["cycles"] * 4 * 80


def test_constants_and_host_steps(x: np.ndarray) -> None:
    soft = HostStep("softmax", "soft", ("soft",), ("z",), ("y",), {"axis": 1})
    result = run_program(program(launch("c", "z"), soft), Device("dstc"), {"x": x})
    np.testing.assert_array_equal(result.outputs["y"], np.full(SHAPE, 1 / 16, np.float32))
    assert [h.to_json()["name"] for h in result.host_ops] == ["soft"]
    assert len(result.kernels) == 1


def test_memory_is_given_back(x: np.ndarray) -> None:
    device = Device("dstc", mode="functional")
    first = device.allocate(256)
    device.free(first)
    run_program(program(launch("x", "y")), device, {"x": x})
    with pytest.raises(Trap, match="outside every allocation"):
        run_program(program(launch("x", 1 << 30)), device, {"x": x})
    assert device.allocate(256) == first


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.zeros((2, 15), np.float32)}, "shape 2x15; the program takes 2x16"),
        ({"x": np.zeros(SHAPE, complex)}, "dtype complex128; the model takes float32"),
        ({"x": np.zeros(SHAPE)}, r'float64; .* float32: convert it with .astype\("float32"\)'),
        ({"x": np.zeros(SHAPE, np.int64)}, "dtype int64; the model takes float32"),
        ({"x": np.zeros(SHAPE, bool)}, "dtype bool; the model takes float32"),
        ({"x": np.zeros(SHAPE, ">f4")}, "dtype >f4; the model takes float32"),
        ({"x": np.zeros(SHAPE), "q": np.zeros(1)}, "no input 'q'; its inputs: x"),
    ],
)
def test_unfit_inputs(inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DstcError, match=message):
        run_program(program(launch("x", "y")), Device("dstc"), inputs)


def test_a_program_without_a_plan() -> None:
    with pytest.raises(DstcError, match="no launch plan; run its kernels with `dstc sim`"):
        run_program(assemble(DOUBLE), Device("dstc"), {})


def test_layers(x: np.ndarray) -> None:
    steps = launch("x", "y"), launch("y", "z"), launch("x", "y")
    steps[1].source, steps[1].engine, steps[1].macs_dense = ("other",), "dense", 7
    result = run_program(program(*steps), Device("v100"), {"x": x}, statistics_=False)
    first, second = result.layers
    assert (first.name, first.kernels, first.engine) == ("node", 2, None)
    assert (second.name, second.engine, second.macs_dense) == ("other", "dense", 7)
    assert first.cycles == sum(k.result.cycles for k in (result.kernels[0], result.kernels[2]))
    assert first.share is not None and second.share is not None
    assert first.share + second.share == 1 and second.limit == result.kernels[1].limit
    assert first.limit in result.kernels[0].result.stalls
    assert limit_of({"issued": 5, "branch": 4}) == "issue" and limit_of({"issued": 0}) is None
    untimed = run_program(program(*steps), Device("v100", mode="functional"), {"x": x})
    assert [(layer.share, layer.limit) for layer in untimed.layers] == [(None, None)] * 2

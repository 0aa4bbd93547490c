"""Device memory and launches seen from Python, and the commands `dstc sim` and `dstc machines`.

In: allocations, arrays, files. Out: bytes back, one-line errors, JSON.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError, Trap
from dstc.compiler.cli.main import main
from dstc.runtime.device import Device
from dstc.runtime.machine import Machine

from .sim_kernels import kernel

ADD = """
.kernel add
.warps 2
.param X
.param Y
.param N
S2R R0, SR_TID ;
ISETP.LT.U32 P0, R0, c[N] ;
SHL R1, R0, 2 ;
IADD3 R2, R1, c[X], RZ ;
IADD3 R3, R1, c[Y], RZ ;
@P0 LDG.32 R4, [R2] ;
@P0 FADD R4, R4, 1.0f ;
@P0 STG.32 [R3], R4 ;
EXIT ;
.end
"""


def test_allocate_write_read_free():
    device = Device()
    a, b = device.allocate(100), device.allocate(1000, align=4096)
    assert a % 256 == 0 and b % 4096 == 0 and a > 0 and abs(b - a) >= 100 + 256
    device.write(b, np.arange(10, dtype=np.int16))
    assert device.read(b, 20).view(np.int16).tolist() == list(range(10))
    device.write(a, b"abc")
    assert bytes(device.read(a, 4)) == b"abc\0"
    device.free(a)
    assert device.allocate(100) == a and not device.read(a, 100).any()
    big = device.allocate(64 << 20)
    device.write(big + (64 << 20) - 4, b"last")
    assert bytes(device.read(b, 4)) == b"\0\0\1\0"


def test_memory_errors():
    device = Device()
    a = device.allocate(64)
    for action in (
        lambda: device.read(a, 65),
        lambda: device.write(a + 60, b"12345"),
        lambda: device.read(0, 1),
        lambda: device.free(a + 4),
        lambda: device.allocate(1 << 33),
        lambda: device.allocate(4, align=3),
    ):
        with pytest.raises(DstcError):
            action()


def test_gaps_between_allocations_trap():
    device = Device()
    a, b = device.allocate(128), device.allocate(256)
    with pytest.raises(Trap, match=f"lane 0, address {a + 128:#x}"):
        device.launch(kernel(ADD), (1, 1, 1), [a, b, 64])


def test_device_options():
    for bad in (
        {"mode": "fast"},
        {"threads": 0},
        {"checks": "some"},
        {"max_instructions": 0},
        {"machine": "k80"},
    ):
        with pytest.raises(DstcError):
            Device(**bad)


def test_overrides_of_a_machine_object_count():
    machine = Machine.load("dstc")
    device = Device(machine, overrides={"sm.count": 3})
    assert device.machine["sm.count"] == 3 and machine["sm.count"] == 80
    with pytest.raises(DstcError, match=r"did you mean 'sm\.count'"):
        Device(machine, overrides={"sm.cuont": 3})


@pytest.mark.parametrize("grid", [(1, 1, 1, 2), ()])
def test_a_grid_has_one_to_three_sizes(grid):
    with pytest.raises(DstcError, match="one to three sizes"):
        Device().launch(kernel(".kernel k\nEXIT ;\n.end"), grid)


def test_sim_command(tmp_path, capsys):
    source = tmp_path / "add.s"
    source.write_text(ADD)
    x = np.arange(64, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    out, report = tmp_path / "y.npy", tmp_path / "r.json"
    code = main(["sim", str(source), "--buffer", f"X={tmp_path / 'x.npy'}", "--buffer",
                 "Y=zeros:256", "--arg", "N=64", "--dump", f"Y={out}:float32:8,8", "--json",
                 str(report), "--set", "sm.count=2"])  # fmt: skip
    assert code == 0
    assert np.array_equal(np.load(out), x.reshape(8, 8) + 1)
    facts = json.loads(report.read_text())
    assert facts["schema"] == 1 and facts["cycles"] > 0
    assert facts["warp_instructions"] == 18 and sum(facts["stalls"].values()) == (
        facts["cycles"] * 4 * 2
    )
    assert "cycles" in capsys.readouterr().out


SIM_ERRORS = {
    ("--buffer", "Z=zeros:4"): (2, "no parameter 'Z'"),
    ("--arg", "N=1"): (2, "parameter 'X' of kernel add is not given"),
    ("--kernel", "sub"): (2, "no kernel 'sub'"),
    ("--grid", "1,0"): (2, "--grid"),
    ("--buffer", "X=nothing.npy"): (2, "no .npy file"),
    ("--machine", "v10"): (2, "did you mean 'v100'"),
    ("--max-instructions", "0"): (2, "max_instructions must be at least 1"),
}


@pytest.mark.parametrize("extra", SIM_ERRORS)
def test_sim_errors(tmp_path, capsys, extra):
    source = tmp_path / "add.s"
    source.write_text(ADD)
    given = [] if extra[0] in ("--arg", "--buffer") else ["--arg", "X=0", "--arg", "Y=0"]
    given += [] if extra == ("--arg", "N=1") else ["--arg", "N=0"]
    code, message = SIM_ERRORS[extra]
    assert main(["sim", str(source), *given, *extra]) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_sim_trap_exit_code(tmp_path, capsys):
    source = tmp_path / "add.s"
    source.write_text(ADD)
    args = ["sim", str(source), "--arg", "X=4", "--arg", "Y=4", "--arg", "N=1"]
    assert main(args) == 3
    assert "outside every allocation" in capsys.readouterr().err


def test_machines_command(tmp_path, capsys):
    assert main(["machines"]) == 0
    assert "dstc" in capsys.readouterr().out
    assert main(["machines", "dstc", "--json", "-"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"]["sm.count"]["value"] == 80
    assert main(["machines", "v100"]) == 0
    assert "l2.latency" in capsys.readouterr().out
    assert main(["machines", "k80"]) == 2


@pytest.mark.parametrize(("checks", "code"), [("full", 3), ("basic", 0), ("off", 0)])
def test_sim_command_checks(checks, code, tmp_path, capsys):
    """A kernel that reads what it did not write; a buffer of zeros is written on purpose."""
    source = tmp_path / "k.s"
    source.write_text(".kernel k\n.shared 64\nLDS.32 R4, [RZ] ;\nEXIT ;\n.end")
    assert main(["sim", str(source), "--checks", checks]) == code
    error = capsys.readouterr().err
    assert ("shared memory is read that was never written" in error) == (code == 3)
    source.write_text(".kernel k\n.param X\nMOV R4, c[X] ;\nLDG.32 R4, [R4] ;\nEXIT ;\n.end")
    assert main(["sim", str(source), "--checks", checks, "--buffer", "X=zeros:64"]) == 0

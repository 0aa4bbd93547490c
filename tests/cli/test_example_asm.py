"""The assembly example does what its comment says, by the commands in it."""

from pathlib import Path

import numpy as np
from dstc.compiler.cli.main import main


def test_scale(tmp_path: Path, root: Path) -> None:
    x = np.linspace(-3, 3, 64, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    program = str(tmp_path / "scale.bin")
    assert main(["asm", str(root / "examples/asm/scale.s"), "-o", program]) == 0
    words = ["sim", program, "--grid", "2", "--buffer", f"x={tmp_path / 'x.npy'}"]
    words += ["--buffer", "y=zeros:256", "--arg", "a=0x40000000"]
    words += ["--dump", f"y={tmp_path / 'y.npy'}:float32", "--mode", "functional"]
    assert main(words) == 0
    assert np.array_equal(np.load(tmp_path / "y.npy"), 2 * x)

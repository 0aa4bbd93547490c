"""A small model on disk, and the command line in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from dstc.compiler.cli.main import main

from ..compiler.onnx_models import model, node, random


class Done(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def dstc(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process."""

    def run(*words: str | Path) -> Done:
        capsys.readouterr()
        try:
            code = main([str(w) for w in words])
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """small.onnx: relu(x @ w), x n x 24; x.npy and data.npz (x and labels y) for n = 4."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(1)
    nodes = [node("MatMul", ["x", "w"], "h"), node("Relu", ["h"])]
    small = model(nodes, {"x": ["n", 24]}, constants={"w": random(rng, 24, 16)})
    onnx.save(small, folder / "small.onnx")
    x = random(rng, 4, 24)
    np.save(folder / "x.npy", x)
    np.savez(folder / "data.npz", x=x, y=np.array([0, 1, 2, 3]))
    unsupported = model([node("Det", ["x"])], {"x": [4, 4]}, output_shape=[])
    onnx.save(unsupported, folder / "det.onnx")
    (folder / "truncated.onnx").write_bytes((folder / "small.onnx").read_bytes()[:500])
    np.save(folder / "wide.npy", np.zeros((4, 25), np.float32))
    np.save(folder / "text.npy", np.full((4, 24), "a"))
    np.save(folder / "seven.npy", np.zeros(7, np.int64))
    np.save(folder / "double.npy", x.astype(np.float64))
    np.save(folder / "whole.npy", np.ones((4, 24), np.int64))
    np.save(folder / "half.npy", x.astype(np.float16))
    half = model(nodes, {"x": [4, 24]}, constants={"w": random(rng, 24, 16).astype(np.float16)},
                 dtype=onnx.TensorProto.FLOAT16)  # fmt: skip
    onnx.save(half, folder / "half.onnx")
    (folder / "garbage.npy").write_text("hello")
    compile_small = ["compile", str(folder / "small.onnx"), "--dim", "n=4", "-o"]
    assert main([*compile_small, str(folder / "small.bin")]) == 0
    assert main([*compile_small, str(folder / "dual.bin"), "--engine", "dual"]) == 0
    data = (folder / "small.bin").read_bytes()
    (folder / "short.bin").write_bytes(data[:300])
    (folder / "corrupt.bin").write_bytes(data[:3000] + b"xxxx" + data[3004:])
    return folder

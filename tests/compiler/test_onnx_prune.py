"""Pruning a model's weights: which ones, what stays, that the check compares with the same model.

In: small ONNX models. Out: pruned weights, notes, engines, errors in one line.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.api import compile_model
from dstc.compiler.cli.main import main
from dstc.compiler.frontends.onnx_prune import prune_weights
from dstc.runtime.nm_format import Pattern, violation
from onnx import ModelProto, helper, numpy_helper

from .onnx_models import model

RNG = np.random.default_rng(3)


def network() -> ModelProto:
    constants = {
        "filters": RNG.standard_normal((8, 1, 3, 3)).astype(np.float32),
        "one": RNG.standard_normal((8, 8, 1, 1)).astype(np.float32),
        "turned": RNG.standard_normal((10, 288)).astype(np.float32),
        "last": RNG.standard_normal((10, 3)).astype(np.float32),
        "bias": np.ones(10, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["c"]),
        helper.make_node("Conv", ["c", "one"], ["d"]),
        helper.make_node("Flatten", ["d"], ["f"]),
        helper.make_node("Gemm", ["f", "turned", "bias"], ["g"], transB=1),
        helper.make_node("MatMul", ["g", "last"], ["y"]),
    ]
    return model(nodes, {"x": (4, 1, 8, 8)}, constants=constants)


def test_weights_keep_the_pattern_along_k():
    before = network()
    after, notes = prune_weights(before, "4:16")
    old, new = (
        {t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (before, after)
    )
    assert violation(new["turned"], Pattern(4, 16), "a") is None  # stored N x K
    for name in ("filters", "one", "last", "bias"):  # K of 9, 8 and 10 is less than 16
        assert np.array_equal(old[name], new[name])
    assert notes == ["pruned 'turned' (10x288) to 4:16: 720 of 2880 values left"]
    after, notes = prune_weights(before, "2:4")
    new = {t.name: numpy_helper.to_array(t) for t in after.graph.initializer}
    assert violation(new["last"], Pattern(2, 4), "b") is None
    assert violation(new["filters"].reshape(8, 9), Pattern(2, 4), "a") is None
    assert len(notes) == 4 and np.count_nonzero(old["last"]) == 30


def test_the_pruned_model_runs_on_the_nm_engine_and_is_what_the_check_compares_with():
    compiled = compile_model(network(), machine="v100-nm", engine="nm", prune="2:4")
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    result = compiled.run({"x": x}, mode="functional")
    assert compiled.check({"x": x}, result)["ok"]
    assert {str(p.schedule.engine) for p in compiled.products} == {"nm"}
    assert sum(note.startswith("pruned") for note in compiled.notes) == 4


def test_the_command_says_what_was_pruned(tmp_path, capsys):
    path = tmp_path / "net.onnx"
    onnx.save(network(), path)
    target = ["-o", str(tmp_path / "out.bin"), "--machine", "v100-nm", "--json", "-"]
    assert main(["compile", str(path), *target, "--prune", "2:4"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert "pruned 'last' (10x3) to 2:4: 18 of 30 values left" in notes
    assert main(["compile", str(path), *target, "--prune", "1:2"]) == 2
    assert "pattern '1:2' is not known; use 2:4, 4:16" in capsys.readouterr().err


def test_a_model_without_weights_is_refused():
    add = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (2, 2)})
    with pytest.raises(DstcError, match="no constant weights of a product with K of at least 4"):
        prune_weights(add, "2:4")

"""The compile cache: what makes an entry, what does not, and that a bad one is as good as none."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from dstc.compiler import api
from dstc.compiler.api import Compiled, compile_model
from dstc.compiler.cache import CompileCache, model_stamp
from dstc.runtime.machine import Machine

from .onnx_models import model, node, random

WEIGHTS = random(np.random.default_rng(3), 16, 8)
X = random(np.random.default_rng(4), 4, 16)


def proto(weights: np.ndarray = WEIGHTS) -> onnx.ModelProto:
    nodes = [node("MatMul", ["x", "w"], "h"), node("Relu", ["h"])]
    return model(nodes, {"x": ["n", 16]}, constants={"w": weights})


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, lines: list[str]) -> CompileCache:
    return CompileCache(tmp_path / "programs", say=lines.append)


def compiled(cache: CompileCache, weights: np.ndarray = WEIGHTS, **options: object) -> Compiled:
    settings = {"machine": "v100", "dims": {"n": 4}} | options
    return compile_model(proto(weights), cache=cache, **settings)  # type: ignore[arg-type]


def test_the_same_program_comes_back(cache: CompileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled(cache)
    with monkeypatch.context() as patch:
        patch.setattr(api, "compile_module", None)
        patch.setattr(api, "load_onnx", None)
        again = compiled(cache)
    assert not first.cached and again.cached
    assert again.program.to_bytes() == first.program.to_bytes()
    assert again.notes == first.notes and again.passes == first.passes
    result = again.run(X, mode="functional")
    assert again.check(X, result)["ok"]


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "dstc"},
        {"machine": Machine.load("v100", {"dram.latency": "500"})},
        {"dims": {"n": 5}},
        {"engine": "dense"},
        {"densities": {"x": 0.5}},
        {"calibrate": {"x": X}},
        {"prune": "2:4"},
        {"weights": WEIGHTS + np.float32(1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_makes_another_program(cache: CompileCache, change: dict[str, object]) -> None:
    compiled(cache)
    assert not compiled(cache, **change).cached  # type: ignore[arg-type]
    assert compiled(cache, **change).cached  # type: ignore[arg-type]


def test_damaged_entries_are_ignored_and_renewed(cache: CompileCache, lines: list[str]) -> None:
    compiled(cache)
    (file,) = cache.folder.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole.replace(b'"key": "', b'"key": "0'),
                    whole[:-9] + b"x" + whole[-8:], b"[]\n" + whole):  # fmt: skip
        file.write_bytes(damaged)
        assert not compiled(cache).cached
        assert "ignored" in lines.pop() and not lines
        assert file.read_bytes()[-500:] == whole[-500:]
    assert [f.name for f in cache.folder.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "file").write_text("")
    compiled(CompileCache(tmp_path / "file" / "programs", say=lines.append))
    assert any("not stored" in line for line in lines)


def test_what_was_used_least_recently_goes(cache: CompileCache, lines: list[str]) -> None:
    compiled(cache)
    (file,) = cache.folder.iterdir()
    small = CompileCache(cache.folder, limit=int(2.5 * file.stat().st_size), say=lines.append)
    compiled(small, WEIGHTS * 2)
    assert compiled(small).cached
    compiled(small, WEIGHTS * 3)
    assert compiled(small).cached and not compiled(small, WEIGHTS * 2).cached and not lines


def test_external_data_counts(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    onnx.save(proto(), file, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = model_stamp(file)
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[5] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert model_stamp(file) != before

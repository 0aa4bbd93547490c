"""The example models, small: no host operators, within the bound, memory shared."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from dstc.compiler import compile_model
from dstc.compiler.memory_plan import MemoryUse

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
SIZES: dict[str, dict[str, Any]] = {
    "bert": {"layers": 2, "batch": 2, "sequence": 24, "width": 48, "heads": 3, "inner": 96,
             "words": 50, "density": 0.3},
    "llama": {"layers": 1, "batch": 2, "sequence": 20, "width": 48, "heads": 3, "inner": 96,
              "words": 50},
    "lstm": {"steps": 3, "batch": 3, "width": 20, "hidden": 24},
    "mobilenet": {"size": 24, "width": 8, "blocks": 2, "expansion": 2, "classes": 5},
    "resnet": {"size": 32, "width": 8, "blocks": 1, "stages": 3, "classes": 10},
}  # fmt: skip


@pytest.mark.parametrize("machine", ["v100", "dstc"])
@pytest.mark.parametrize("name", SIZES)
def test_model(name: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    proto, feeds = importlib.import_module(name).build(**SIZES[name])
    compiled = compile_model(proto, machine=machine)
    result = compiled.run(feeds, checks="full")
    assert not result.host_ops and all(k.result.cycles > 0 for k in result.kernels)
    check = compiled.check(feeds, result)
    assert check["ok"], check
    assert check["bound"] < 0.5, "vacuous"
    assert compiled.program.plan is not None
    use = MemoryUse.of(compiled.program.plan)
    # columns of small convolutions are most of what a network of them needs
    assert use.planned <= (1.0 if name in ("mobilenet", "resnet") else 0.7) * use.naive, use

"""docs/models.md names every operator of the front end."""

import re
from pathlib import Path

from dstc.compiler.frontends.onnx_ops import CONVERTERS

DOC = Path(__file__).parents[2] / "docs" / "models.md"


def test_every_operator_is_named() -> None:
    words = set(re.findall(r"\w+", DOC.read_text()))
    assert not sorted(set(CONVERTERS) - words)

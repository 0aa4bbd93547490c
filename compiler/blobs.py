"""Compressed pieces of a page that its script unpacks when they are looked at.

In: anything that JSON holds. Out: base64 of gzip, once for equal content.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Blobs:
    """Compressed JSON by number; equal content is kept once."""

    texts: list[str] = field(default_factory=list[str])
    _known: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, content: Any) -> int:
        """The number of `content`."""
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        if text not in self._known:
            self._known[text] = len(self.texts)
            packed = gzip.compress(text.encode(), 6, mtime=0)
            self.texts.append(base64.b64encode(packed).decode())
        return self._known[text]

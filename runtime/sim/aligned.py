"""Arrays that begin with a cache line of the host.

In: a size. Out: zeros; vectors of registers and rows of whole lines then cross no line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINE_BYTES = 64
LINE_WORDS = LINE_BYTES // 4


def aligned(words: int) -> NDArray[np.uint32]:
    """Zeros from a cache line's first byte on."""
    whole = np.zeros(words + LINE_WORDS, np.uint32)
    first = -whole.ctypes.data % LINE_BYTES // 4
    return whole[first : first + words]

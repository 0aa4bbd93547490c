"""HMMA.SP: bit for bit against f32 additions in ascending k, for each pattern, side and layout.

In: random n:m operands, with NaN, infinities, -0 and subnormals. Out: equal bits, in both modes.
"""

from __future__ import annotations

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import (
    NM_BLOCK_K,
    hmma_d_position,
    nm_dense_position,
    nm_index_position,
    nm_value_position,
)
from dstc.backend.isa.table import NM_SHAPES
from dstc.runtime.device import Device

from .sim_kernels import kernel
from .test_sim_tensor import MODES, equal, values

U, H, F = np.uint32, np.float16, np.float32


def sparse_lines(
    rng: np.random.Generator, shape: str, part: int, special: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(16 x depth matrix, register a, register e): four values a line, in their groups."""
    n, m = NM_SHAPES[shape]
    depth = 4 * m // n
    given = values(rng, (16, 4), special)
    matrix = np.zeros((16, depth), H)
    a, e = np.zeros((32, 2), np.uint16), rng.integers(0, 1 << 32, 32, U)
    for line in range(16):
        places = [np.sort(rng.choice(m, n, replace=False)) for _ in range(4 // n)]
        for v in range(4):
            group, index = divmod(v, n)[0], int(places[v // n][v % n])
            matrix[line, m * group + index] = given[line, v]
            a[nm_value_position(line, v)] = given.view(np.uint16)[line, v]
            lane, shift = nm_index_position(depth, line, part, v)
            mask = (m - 1) << shift
            e[lane] = (int(e[lane]) & ~mask) | index << shift
    return matrix, a.reshape(64).view(U), e


@np.errstate(all="ignore")
def updates(c: np.ndarray, lines: np.ndarray, other: np.ndarray) -> np.ndarray:
    """c (line x line of the other) plus products in ascending k, but for zeros of `lines`."""
    for k in range(lines.shape[1]):
        more = (c + (lines[:, k, None].astype(F) * other[None, :, k].astype(F))).astype(F)
        c = np.where((lines[:, k] != 0)[:, None], more, c)
    return c


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("layout", ["ALONG", "ACROSS"])
@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("shape", list(NM_SHAPES))
@pytest.mark.parametrize("mode", MODES)
def test_hmma_sp_adds_in_ascending_k(mode, shape, side, layout, special):
    n, m = NM_SHAPES[shape]
    depth = 4 * m // n
    registers = depth // 4
    for part in (0, NM_BLOCK_K // depth - 1, 2):
        rng = np.random.default_rng(part)
        lines, a, e = sparse_lines(rng, shape, part, special)
        other = values(rng, (16, depth), special)
        c = rng.standard_normal((16, 16)).astype(F)
        image = np.zeros((16, 32), U)
        image[0], image[1] = a, e
        halves = image.view(np.uint16).reshape(16, 32, 2)
        for line in range(16):
            for k in range(depth):
                lane, register, half = nm_dense_position(layout, depth, k, line)
                halves[4 + register, lane, half] = other.view(np.uint16)[line, k]
        whole = c if side == "A" else c.T
        for step in range(4):
            for row in range(8):
                for column in range(8):
                    lane, register = hmma_d_position(step, row, column)
                    at = 8 * (step // 2) + row, 8 * (step % 2) + column
                    image[8 + 2 * step + register, lane] = np.ascontiguousarray(whole).view(U)[at]
        text = [".kernel h", ".param IN", "S2R R0, SR_LANE ;", "SHL R0, R0, 2 ;",
                "IADD3 R0, R0, c[IN], RZ ;"]  # fmt: skip
        text += [f"LDG.32 R{4 + i}, [R0+{128 * i}] ;" for i in range(16)]
        text += [
            f"HMMA.SP.{shape}.{side}.{layout}.STEP{s}.SLICE{part} "
            f"R{12 + 2 * s}, R4, R8, R{12 + 2 * s}, R5 ;"
            for s in range(4)
        ]
        text += [f"STG.32 [R0+{128 * i}], R{4 + i} ;" for i in range(16)] + ["EXIT ;", ".end"]
        device = Device("v100-nm", mode=mode)
        at = device.upload(image)
        device.launch(kernel("\n".join(text)), (1, 1, 1), [at])
        out = device.read(at, image.nbytes).view(U).reshape(16, 32)
        got = np.zeros((16, 16), F)
        for step in range(4):
            for row in range(8):
                for column in range(8):
                    lane, register = hmma_d_position(step, row, column)
                    bits = out[8 + 2 * step + register, lane]
                    got.view(U)[8 * (step // 2) + row, 8 * (step % 2) + column] = bits
        got = got if side == "A" else np.ascontiguousarray(got.T)
        assert equal(got, updates(c, lines, other))
        assert registers == (2 if shape == "888" else 4)


def test_n_m_needs_its_machine():
    text = ".kernel k\nHMMA.SP.888.A.ALONG.STEP0.SLICE0 R0, R4, R8, RZ, R5 ;\nEXIT ;\n.end"
    with pytest.raises(DstcError, match=r"n:m extension, which machine dstc lacks; use .* v100-nm"):
        Device("dstc").launch(kernel(text))

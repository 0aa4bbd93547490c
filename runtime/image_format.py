"""Encoded images on the host: encode, decode (`backend.isa.image_layout`).

In: f16 images N x C x H x W and their `ImageLayout`. Out: the bytes that lie in device memory, and
back; what a product's operand is, as a lowered matrix of the pixels that it computes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError
from ..backend.isa.image_layout import ENTRY_BYTES, WORD, ImageLayout
from ..backend.isa.table import RUN_SLOT_BYTES

F16 = NDArray[np.float16]
_SLOT = RUN_SLOT_BYTES // 2


def _places(layout: ImageLayout) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each position of the planes of one channel (phases, positions): index into the images'
    planes N x H x W of that channel, and whether it is an element of them."""
    n, _, h, w = layout.shape
    lines, columns = np.divmod(np.arange(layout.plane_words * WORD) - layout.lead, layout.pitch)
    # the shared rows behind an image stand before the next one
    number, rows = np.divmod(lines, layout.rows)
    index, inside = list[NDArray[np.int64]](), list[NDArray[np.bool_]]()
    for down in layout.phases[0]:
        y = rows * layout.strides[0] + down - layout.pads[0]
        for along in layout.phases[1]:
            x = columns * layout.strides[1] + along - layout.pads[1]
            here = (y >= 0) & (y < h) & (x >= 0) & (x < w) & (number >= 0) & (number < n)
            index.append(np.where(here, (number * h + y) * w + x, 0))
            inside.append(here)
    return np.stack(index), np.stack(inside)


def planes_of(x: F16, layout: ImageLayout) -> F16:
    """The positions of all planes: (C, phases, positions)."""
    index, inside = _places(layout)
    planes = x.transpose(1, 0, 2, 3).reshape(layout.shape[1], -1)[:, index]
    return np.ascontiguousarray(np.where(inside & (planes != 0), planes, np.float16(0)))


def encode(x: F16, layout: ImageLayout) -> bytes:
    """The device image of f16 images; both zeros are zero, NaN and infinity are not.

    `DstcError` for another dtype or shape.
    """
    if x.dtype != np.float16 or x.shape != layout.shape:
        raise DstcError(
            f"an image of {layout.shape} f16 is to be encoded, not {x.dtype} of shape {x.shape}"
        )
    positions = planes_of(x, layout).view(np.uint16).reshape(-1, WORD)
    occupied = (positions & np.uint16(0x7FFF)) != 0
    packed = np.ascontiguousarray(np.packbits(occupied, axis=-1, bitorder="little"))
    words = packed.view("<u4")[..., 0]
    entries = np.zeros((layout.words, ENTRY_BYTES // 4), "<u4")
    entries[:, 0] = words
    following = words.reshape(-1, layout.plane_words)[:, 1:]
    entries[:, 1].reshape(-1, layout.plane_words)[:, :-1] = following
    slots = np.zeros((layout.words, _SLOT), "<u2")
    rank = np.cumsum(occupied, axis=1) - 1
    word, place = np.nonzero(occupied)
    slots[word, rank[word, place]] = positions[word, place]
    image = bytearray(layout.bytes)
    image[: entries.nbytes] = entries.tobytes()
    image[layout.values_offset : layout.values_offset + slots.nbytes] = slots.tobytes()
    return bytes(image)


def decode(data: bytes, layout: ImageLayout) -> F16:
    """The images: elements that no window touches are +0, as zeros are.

    `DstcError` if it is too short or its words contradict one another.
    """
    if len(data) < layout.bytes:
        raise DstcError(f"an encoded image of {layout.bytes} bytes, not {len(data)}")
    n, c, h, w = layout.shape
    entries = np.frombuffer(data, "<u4", 2 * layout.words).reshape(-1, layout.plane_words, 2)
    if not np.array_equal(entries[:, 1:, 0], entries[:, :-1, 1]):
        raise DstcError("an encoded image whose entries do not hold the words after their own")
    slots = np.frombuffer(data, "<u2", _SLOT * layout.words, layout.values_offset)
    slots = slots.reshape(-1, _SLOT).astype(np.uint16)
    words = np.ascontiguousarray(entries[..., 0]).reshape(-1, 1)
    occupied = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little").astype(np.bool_)
    positions = np.zeros((layout.words, WORD), np.uint16)
    word, place = np.nonzero(occupied)
    rank = np.cumsum(occupied, axis=1) - 1
    positions[word, place] = slots[word, rank[word, place]]
    planes = positions.reshape(c, layout.phase_count, -1)
    index, inside = _places(layout)
    if planes[:, ~inside].any():
        raise DstcError("an encoded image with values outside the image")
    x = np.zeros((c, n * h * w), np.uint16)
    for phase in range(layout.phase_count):
        x[:, index[phase][inside[phase]]] = planes[:, phase, inside[phase]]
    back = x.view(np.float16).reshape(c, n, h, w).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(back)


def operand(x: F16, layout: ImageLayout) -> F16:
    """The right operand of the product: K x `layout.computed`, pixels beyond rows included."""
    flat = planes_of(x, layout).reshape(-1)
    places = np.array([layout.start(k) for k in range(layout.depth)])
    return flat[places[:, None] + np.arange(layout.computed)]


def pixel_columns(layout: ImageLayout) -> NDArray[np.int64]:
    """Of each computed pixel its number among those of the result, -1 for nobody's."""
    n, (oh, ow) = layout.shape[0], layout.out
    line, column = np.divmod(np.arange(layout.computed), layout.pitch)
    image, row = np.divmod(line, layout.rows)
    real = (row < oh) & (column < ow) & (image < n)
    return np.where(real, (image * oh + row) * ow + column, -1)

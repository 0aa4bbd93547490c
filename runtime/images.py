"""Device images of arrays: dense with pitch and padding, two-level bitmap, n:m, encoded images.

In: numpy arrays and the plan's buffers. Out: the bytes that lie in device memory, and back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend.isa.errors import DstcError
from ..backend.isa.image_layout import ImageLayout
from ..backend.isa.layout import DenseLayout
from ..backend.isa.program import Buffer
from . import formats, image_format, nm_format

DTYPES: dict[str, type[np.number[Any]]] = {
    "f16": np.float16,
    "f32": np.float32,
    "i32": np.int32,
    "u32": np.uint32,
}
"""Dense element types by their name in the plan."""


def to_image(array: NDArray[Any], buffer: Buffer) -> NDArray[np.uint8]:
    """Bytes of `array` (shape of the buffer; converted to its dtype) as the buffer holds them."""
    with np.errstate(over="ignore"):
        if buffer.bitmap is not None:
            matrix = np.asarray(array, np.float16)
            side, window = buffer.bitmap["side"], buffer.bitmap_window
            encoded = formats.encode(matrix, side, window=window)
            return np.frombuffer(encoded.to_bytes(), np.uint8)
        if buffer.nm is not None:
            encoded = nm_format.encode(np.asarray(array, np.float16), *_nm(buffer))
            return np.frombuffer(encoded, np.uint8)
        if buffer.image is not None:
            layout = ImageLayout.of_facts(buffer.image)
            encoded = image_format.encode(np.asarray(array, np.float16), layout)
            return np.frombuffer(encoded, np.uint8)
        dtype = DTYPES[buffer.dtype]
        if buffer.dtype == "i32" and array.size and not _fits(array):
            raise DstcError(
                f"buffer {buffer.name!r} holds integers of 32 bits, not {array.min()} to "
                f"{array.max()}"
            )
        layout = DenseLayout.of(buffer.shape, np.dtype(dtype).itemsize)
        image = np.zeros((layout.padded_rows, layout.pitch), dtype)
        image[: layout.rows, : layout.columns] = np.reshape(array, (layout.rows, layout.columns))
    return image.reshape(-1).view(np.uint8)


def _fits(array: NDArray[Any]) -> bool:
    limits = np.iinfo(np.int32)
    return array.dtype.kind == "b" or bool(array.min() >= limits.min and array.max() <= limits.max)


def padding_of(buffer: Buffer) -> NDArray[np.bool_]:
    """Which bytes of the buffer's image are zero by the layout, whatever the array.

    A bitmap's words are built up from zeros, and counters (u32) count from it: all of them counts.
    """
    encoded = (buffer.bitmap, buffer.nm, buffer.image)
    if any(form is not None for form in encoded) or buffer.dtype == "u32":
        return np.ones(buffer.bytes, np.bool_)
    dtype = np.dtype(DTYPES[buffer.dtype])
    layout = DenseLayout.of(buffer.shape, dtype.itemsize)
    padding = np.ones((layout.padded_rows, layout.pitch, dtype.itemsize), np.bool_)
    padding[: layout.rows, : layout.columns] = False
    return padding.reshape(-1)


def from_image(data: NDArray[np.uint8], buffer: Buffer) -> NDArray[Any]:
    """The array that the buffer's bytes stand for: f16 or f32, of the buffer's shape."""
    if buffer.bitmap is not None:
        return formats.decode(bitmap_of(data, buffer))
    if buffer.nm is not None:
        pattern, side = _nm(buffer)
        rows, columns = buffer.shape
        return nm_format.decode(data.tobytes(), pattern, (rows, columns), side)
    if buffer.image is not None:
        return image_format.decode(data.tobytes(), ImageLayout.of_facts(buffer.image))
    dtype = DTYPES[buffer.dtype]
    layout = DenseLayout.of(buffer.shape, np.dtype(dtype).itemsize)
    image = data[: layout.bytes].view(dtype).reshape(layout.padded_rows, layout.pitch)
    return image[: layout.rows, : layout.columns].reshape(buffer.shape).copy()


def _nm(buffer: Buffer) -> tuple[nm_format.Pattern, str]:
    """Pattern and side of an n:m buffer."""
    assert buffer.nm is not None
    return nm_format.Pattern(buffer.nm["n"], buffer.nm["m"]), buffer.nm["side"]


def bitmap_of(data: NDArray[np.uint8], buffer: Buffer) -> formats.Bitmap:
    """The encoded operand in a bitmap buffer's bytes."""
    assert buffer.bitmap is not None
    b = buffer.bitmap
    sizes = b["vectors"], b["depth"]
    return formats.Bitmap.from_bytes(data.tobytes(), *sizes, b["side"], buffer.bitmap_window)

"""`!dstc.image`: an image encoded for a product that forms its windows itself.

In: sizes of an image, a window. Out: the type, whose storage is `ImageLayout`.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, DenseArrayBase, Float16Type, f16, i64
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import base, irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from ..backend.isa.image_layout import ImageLayout
from .conv_window import ConvWindow, WindowAttr


@irdl_attr_definition
class ImageType(ParametrizedAttribute, TypeAttribute):
    """`!dstc.image<8x64x28x28xf16, #dstc.window<...>>`: bitmaps and condensed values by row.

    Stored as `ImageLayout` so that the elements under one tap of neighbouring windows are
    neighbours. Elements that no window touches may be missing.
    """

    name = "dstc.image"

    sizes: DenseArrayBase[I64] = param_def()
    element_type: Float16Type = param_def(base(Float16Type))
    window: WindowAttr = param_def()

    @staticmethod
    def of(shape: Sequence[int], window: ConvWindow) -> ImageType:
        """The type of an f16 image N x C x H x W."""
        return ImageType(DenseArrayBase.from_list(i64, list(shape)), f16, WindowAttr.of(window))

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return tuple(int(v) for v in self.sizes.iter_values())

    @property
    def layout(self) -> ImageLayout:
        """Storage on the device."""
        return image_layout(self.shape, self.window.window)

    def verify(self) -> None:
        """Four positive sizes; a window that fits, on an image that is not spread out."""
        if len(self.shape) != 4 or min(self.shape) < 1:
            raise VerifyException(f"an image has four positive sizes, not {list(self.shape)}")
        window = self.window.window
        window.check()
        if window.spread != (1, 1):
            raise VerifyException("an image that is spread out has no encoded form")
        if min(window.output(self.shape[2:])) < 1:
            raise VerifyException("the window does not fit the image")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """`<8x64x28x28xf16, #dstc.window<...>>`."""
        with parser.in_angle_brackets():
            sizes = parser.parse_dimension_list()
            parser.parse_shape_delimiter()
            element = parser.parse_type()
            parser.parse_punctuation(",")
            window = parser.parse_attribute()
        return DenseArrayBase.from_list(i64, sizes), element, window

    def print_parameters(self, printer: Printer) -> None:
        """As it parses."""
        printer.print_string(f"<{'x'.join(map(str, self.shape))}x")
        printer.print_attribute(self.element_type)
        printer.print_string(", ")
        printer.print_attribute(self.window)
        printer.print_string(">")


def image_layout(shape: Sequence[int], window: ConvWindow) -> ImageLayout:
    """Of an image and a window on it."""
    n, c, h, w = shape
    kernel, strides, dilations = (
        (pair[0], pair[1]) for pair in (window.kernel, window.strides, window.dilations)
    )
    top, left, bottom, right = window.pads
    return ImageLayout((n, c, h, w), kernel, strides, (top, left, bottom, right), dilations)

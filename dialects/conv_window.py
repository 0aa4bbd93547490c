"""`#dstc.window`: how a convolution's filter moves over an image.

In: numbers of a convolution (two each for height and width). Out: the attribute that a product on
windows of an image carries, and sizes that follow from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import I64, DenseArrayBase, i64
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

Sizes = tuple[int, ...]

_FIELDS: tuple[tuple[str, int, int], ...] = (
    ("kernel", 2, 1),
    ("strides", 2, 1),
    ("pads", 4, 0),
    ("dilations", 2, 1),
    ("spread", 2, 1),
)
"""Name, how many numbers, the least each may be."""


@dataclass(frozen=True)
class ConvWindow:
    """Kernel, strides, pads (top, left, bottom, right), dilations, each as (height, width).

    `spread`: an image's rows and columns stand that far apart, zeros between them, before the
    filter moves over it: a transposed convolution of stride s is one of spread s.
    """

    kernel: Sizes
    strides: Sizes = (1, 1)
    pads: Sizes = (0, 0, 0, 0)
    dilations: Sizes = (1, 1)
    spread: Sizes = (1, 1)

    @property
    def sliding(self) -> tuple[Sizes, Sizes, Sizes, Sizes]:
        """Without the spread, as pooling has it."""
        return self.kernel, self.strides, self.pads, self.dilations

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.kernel[0] * self.kernel[1]

    def extent(self, size: Sequence[int]) -> Sizes:
        """Height and width of an image of `size` as spread."""
        return tuple((n - 1) * u + 1 for n, u in zip(size, self.spread, strict=True))

    def output(self, size: Sequence[int]) -> tuple[int, int]:
        """(OH, OW) on an image of `size`; not positive where the kernel does not fit."""
        out = [
            (n + self.pads[i] + self.pads[i + 2] - (self.kernel[i] - 1) * self.dilations[i] - 1)
            // self.strides[i]
            + 1
            for i, n in enumerate(self.extent(size))
        ]
        return out[0], out[1]

    def check(self) -> None:
        """Raise `VerifyException` for numbers that are too few, too many or too small."""
        for name, count, least in _FIELDS:
            values = getattr(self, name)
            if len(values) != count:
                raise VerifyException(f"{name} must have {count} values, not {len(values)}")
            if min(values) < least:
                what = "positive" if least else "non-negative"
                raise VerifyException(f"{name} must be {what}, not {list(values)}")


@irdl_attr_definition
class WindowAttr(ParametrizedAttribute):
    """`#dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>`.

    With `, spread = [2, 2]` the image is spread out first (`ConvWindow`).
    """

    name = "dstc.window"

    kernel: DenseArrayBase[I64] = param_def()
    strides: DenseArrayBase[I64] = param_def()
    pads: DenseArrayBase[I64] = param_def()
    dilations: DenseArrayBase[I64] = param_def()
    spread: DenseArrayBase[I64] = param_def()

    @staticmethod
    def of(window: ConvWindow) -> WindowAttr:
        """The attribute of a window."""
        fields = (getattr(window, name) for name, _, _ in _FIELDS)
        return WindowAttr(*(DenseArrayBase.from_list(i64, list(f)) for f in fields))

    @property
    def window(self) -> ConvWindow:
        """As plain numbers."""
        return ConvWindow(*(tuple(int(v) for v in f.iter_values()) for f in self.parameters_()))

    def parameters_(self) -> tuple[DenseArrayBase[I64], ...]:
        """The fields in order."""
        return self.kernel, self.strides, self.pads, self.dilations, self.spread

    def verify(self) -> None:
        """Two numbers each, four pads; all but the pads positive."""
        self.window.check()

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """`<[3, 3], strides = [..], pads = [..], dilations = [..][, spread = [..]]>`."""

        def numbers() -> DenseArrayBase[I64]:
            found = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
            return DenseArrayBase.from_list(i64, found)

        with parser.in_angle_brackets():
            found: list[Attribute] = [numbers()]
            for name, _, _ in _FIELDS[1:-1]:
                parser.parse_punctuation(",")
                parser.parse_keyword(name)
                parser.parse_punctuation("=")
                found.append(numbers())
            spread = DenseArrayBase.from_list(i64, [1, 1])
            if parser.parse_optional_punctuation(",") is not None:
                parser.parse_keyword("spread")
                parser.parse_punctuation("=")
                spread = numbers()
        return *found, spread

    def print_parameters(self, printer: Printer) -> None:
        """As it parses."""
        w = self.window
        parts = [str(list(w.kernel))]
        parts += [f"{name} = {list(getattr(w, name))}" for name, _, _ in _FIELDS[1:-1]]
        if w.spread != (1, 1):
            parts.append(f"spread = {list(w.spread)}")
        printer.print_string(f"<{', '.join(parts)}>")

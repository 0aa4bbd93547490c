"""What forming windows of an image costs a product, in closed form. Not a pass.

In: an image, a window, a tile of pixels, a machine. Out: for the pixel side of a main-loop step the
instructions, accesses and sectors that differ from those of a matrix. The numbers are those of the
code in `window_staging.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ..backend.isa.image_layout import ImageLayout
from ..backend.isa.layout import STEP_K, ceil_div
from ..dialects.conv_window import ConvWindow
from ..dialects.dstc import MatmulOp, matrix_shape
from ..dialects.image_type import image_layout
from ..runtime.machine import Machine

CHUNK = 8
"""Elements of a 16-byte access."""
LANES = 32
SECTOR_ELEMENTS = 16
_ADDRESS, _CONDITION = 1, 2
"""ALU instructions of an element: its address; its condition, and a zero where it fails."""
_TABLE_INSTRUCTIONS = 18
"""Instructions of a warp and step that work out the next table."""


@dataclass(frozen=True)
class Gathering:
    """How gathered elements disturb a step: numbers with which predictions come nearest to the
    simulator over convolutions of many shapes and tiles; none of them belongs to a convolution.
    """

    start: float = 1670
    """Cycles before the first load beside a matrix's: places of pixels, the first table."""
    gap: float = 69.2
    """Of a step, what nothing overlaps beside a matrix's: the table before the first address."""
    issue_share: float = 0.852
    """Share of issue slots that a step's instructions reach."""
    tensor_share: float = 1.1
    """Share of a matrix's pace that products of many warps reach,"""
    fewer: float = 0.464
    """and what of it a sub-core's only warp loses; several lose less of it."""
    in_flight: float = 0.457
    """Share of the sectors that an SM may have under way that it has."""


GATHERING = Gathering()


MOST_TABLE_DEPTH = 8192
"""K of windows that the dual-side kernel forms, at most: a word each in shared memory."""
MOST_FILTERS, MOST_DEPTH = 4, 64
"""Filters of a channel and their elements, up to which they do without the tensor core."""
_DIRECT = 3, 2
"""Instructions of an element of a pixel's window, and of each product with it: two thirds of what
there are, since `cost_streaming` reckons with code that waits more."""
_DIRECT_GROUPS = 8
"""Groups for which a lane works out once where its pixel is."""


def direct(filters: int, depth: int, taps: int, groups: int) -> bool:
    """Whether groups go without the tensor core: of one channel (`conv_direct.py`)."""
    return groups > 1 and depth == taps <= MOST_DEPTH and filters <= MOST_FILTERS


@dataclass(frozen=True)
class Windows:
    """An image, C channels (of a group) of `size`, batch N, and how windows move over it."""

    batch: int
    channels: int
    size: tuple[int, int]
    window: ConvWindow

    @staticmethod
    def of(op: MatmulOp) -> Windows | None:
        """The image of a product on windows: of a group's channels."""
        if op.window is None:
            return None
        n, c, h, w = matrix_shape(op.rhs.type)
        return Windows(n, c // op.group_count, (h, w), op.window.window)

    @property
    def encoded(self) -> ImageLayout:
        """The image as the dual-side kernel takes it."""
        return image_layout((self.batch, self.channels, *self.size), self.window)

    def encodable(self, machine: Machine, groups: int) -> bool:
        """Whether the dual-side kernel forms these windows, and that is not a plain product."""
        return (
            "runs" in machine.features
            and groups == 1
            and self.window.taps > 1
            and self.window.spread == (1, 1)
            and self.channels * self.window.taps <= MOST_TABLE_DEPTH
            and self.encoded.bytes < 1 << 31
        )

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.window.output(self.size)

    @property
    def run(self) -> int:
        """Pixels loaded at once, 1 if they are gathered."""
        if self.window != ConvWindow((1, 1), dilations=self.window.dilations):
            return 1
        return gcd(self.out[0] * self.out[1], CHUNK)

    @property
    def gathered(self) -> bool:
        """Elements are loaded one by one."""
        return self.run == 1

    @property
    def bytes(self) -> int:
        """Bytes of the image that windows can touch."""
        rows, columns = (self._touched(i) for i in (0, 1))
        return 2 * self.batch * self.channels * rows * columns

    def _touched(self, axis: int) -> int:
        """Rows (0) or columns (1) of which windows take elements; whole sectors along a row."""
        stride = self.window.strides[axis]
        if axis == 1 or self.window.kernel[axis] >= stride or self.window.spread[axis] > 1:
            return self.size[axis]
        return min(self.size[axis], self.out[axis] * self.window.kernel[axis])

    @property
    def conditional(self) -> bool:
        """An element may be padding, or beyond the end of K."""
        ragged = self.channels * self.window.taps % STEP_K != 0
        return ragged or any(self.window.pads) or self.window.spread != (1, 1)

    def fresh(self, pixels: int) -> float:
        """Of a step's elements for a tile of `pixels`, the share that its CTA asks L2 for.

        Windows overlap, which L1 has; strides leave elements of sectors unused.
        """
        if not self.gathered:
            return 1.0
        (oh, ow), w = self.out, self.window
        across = min(pixels, ow)
        rows = max(1.0, pixels / ow)
        images = max(1.0, rows / oh)
        down = rows / images
        reach = [(w.kernel[i] - 1) * w.dilations[i] for i in (0, 1)]
        height = min(self.size[0], (down - 1) * w.strides[0] / w.spread[0] + 1 + reach[0])
        if w.kernel[0] == 1:
            height = down
        width = min(self.size[1], (across - 1) * w.strides[1] / w.spread[1] + 1 + reach[1])
        # runs of a row begin anywhere in a sector, unless rows follow each other without a gap
        whole = width >= self.size[1] and (w.kernel[0] > 1 or w.strides[0] == 1)
        touched = images * height * (width + (0 if whole else SECTOR_ELEMENTS / 2))
        return touched / (pixels * w.taps)

    def sectors(self) -> float:
        """Sectors that 32 lanes touch with one gather."""
        stride = self.window.strides[1] / self.window.spread[1]
        breaks = LANES / min(LANES, self.out[1])
        return min(LANES, LANES * stride / SECTOR_ELEMENTS + breaks)

    def accesses(self, pixels: int, warps: int, fragments: int) -> float:
        """Accesses of a CTA and step to load, store and read `pixels` lines."""
        if not self.gathered:
            stored = pixels * STEP_K / CHUNK / LANES
            return stored * (1 + CHUNK / self.run) + warps * 8 * fragments / gcd(fragments, 4)
        table = pixels / 4 * (1 + self.conditional)
        return pixels + table + pixels / CHUNK + warps * 4 * fragments

    def alu(self, pixels: int, warps: int) -> float:
        """ALU instructions of a CTA and step."""
        if not self.gathered:
            return 0.0
        an_element = _ADDRESS + _CONDITION * self.conditional
        return pixels * an_element + _TABLE_INSTRUCTIONS * warps

    def instructions(self, pixels: int, warps: int) -> float:
        """Instructions of a CTA and step beside accesses and what every product needs."""
        return self.alu(pixels, warps) + (pixels / 2 if self.gathered else 0)

    def wavefronts(self, pixels: int) -> float:
        """Passes over shared memory beside those of the elements: the table."""
        return pixels / 4 * (1 + self.conditional) if self.gathered else 0.0

    def loads(self, pixels: int, warps: int) -> int:
        """Registers of a lane that hold what is on its way."""
        elements = ceil_div(pixels * STEP_K, warps * LANES)
        return elements if self.gathered else ceil_div(elements, 2)

    def direct_ctas(self, pixels: int, groups: int) -> int:
        """CTAs of 4 warps that do without the tensor core."""
        return ceil_div(pixels, 4 * LANES) * ceil_div(groups, _DIRECT_GROUPS)

    def direct_instructions(self, filters: int) -> int:
        """Instructions of one of their warps."""
        element, product = _DIRECT
        return 80 + _DIRECT_GROUPS * (15 + self.window.taps * (element + product * filters))

    def shared_out(self, pixels: int, warps: int) -> bool:
        """Whether the tile falls evenly to the lanes of a CTA."""
        lanes = warps * LANES
        return pixels <= lanes and STEP_K * pixels % (lanes * CHUNK) == 0

"""The converter of LSTM: one product for all inputs, then a product and some functions a step.

In: a node and its draft; the number of steps is fixed. Out: `matmul`, `elementwise` and `concat`
operators for all steps of each direction.
"""

from __future__ import annotations

from collections.abc import Callable

from ...backend.isa.errors import DstcError
from .draft import Draft
from .onnx_build import Build
from .onnx_node import Node

_ACTIVATIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu"}
_DEFAULT = ("Sigmoid", "Tanh", "Tanh")
"""ONNX's f, g and h."""


def _lstm(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    direction = node.attrs.get("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    for index, what in ((4, "sequence_lens"), (7, "peepholes (P)")):
        if node.optional(index):
            raise DstcError(f"{what} is not supported")
    for key in ("clip", "input_forget"):
        if node.attrs.get(key):
            raise DstcError(f"{key} is not supported")
    x = node.inputs[0]
    if node.flag("layout"):
        x = b.transpose(x, (1, 0, 2))
    names = [str(n) for n in node.attrs.get("activations", _DEFAULT * directions)]
    sequences: list[str] = []
    last: list[tuple[str, str]] = []
    for d in range(directions):
        backward = direction == "reverse" or d == 1
        steps, cell = _direction(b, x, d, backward, names[3 * d : 3 * d + 3])
        last.append((steps[0 if backward else -1], cell))
        sequences.append(_stack(b, steps))
    _, _, batch, hidden = draft.shape(sequences[0])
    whole = b.concat(sequences, 1)
    ends = [b.concat([b.reshape(pair[i], (1, batch, hidden)) for pair in last], 0) for i in (0, 1)]
    if node.flag("layout"):
        whole = b.transpose(whole, (2, 0, 1, 3))
        ends = [b.transpose(end, (1, 0, 2)) for end in ends]
    for output, value in zip(node.outputs, (whole, *ends), strict=False):
        if output:
            b.give(value, output)


def _stack(b: Build, steps: list[str]) -> str:
    """T x 1 x batch x hidden from the states of all steps, in the order of time."""
    batch, hidden = b.shape(steps[0])
    return b.concat([b.reshape(h, (1, 1, batch, hidden)) for h in steps], 0)


def _activation(name: str) -> str:
    if name.lower() not in _ACTIVATIONS:
        raise DstcError(f"activation {name} is not supported; there are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name.lower()]


def _state(b: Build, index: int, d: int) -> str | None:
    """An initial state, batch x hidden; None for zero."""
    value = b.node.optional(index)
    if value is None:
        return None
    known = b.known(value)
    if known is not None and not known.any():
        return None
    if b.node.flag("layout"):
        value = b.transpose(value, (1, 0, 2))
    shape = b.shape(value)
    return b.reshape(b.part(value, 0, d, 1), shape[1:])


def _weights(b: Build, index: int, d: int) -> str:
    """Direction d of W or R, transposed; constant, as it is used in every step."""
    value = b.node.inputs[index]
    array = b.known(value)
    if array is None:
        shape = b.shape(value)
        part = b.reshape(b.part(value, 0, d, 1), shape[1:])
        return b.transpose(part, (1, 0))
    return b.constant(f"{'XWRB'[index]}{d}", array[d].T.copy())


def _direction(b: Build, x: str, d: int, backward: bool, names: list[str]) -> tuple[list[str], str]:
    """(states of all steps in the order of time, last cell)."""
    steps, batch, size = b.shape(x)
    w, r = _weights(b, 1, d), _weights(b, 2, d)
    hidden = b.shape(r)[0]
    operands = [b.reshape(x, (steps * batch, size)), w]
    attrs: dict[str, str] = {}
    bias = b.node.optional(3)
    if bias is not None:
        array = b.known(bias)
        if array is None:
            raise DstcError("B must be constant")
        both = array[d, : 4 * hidden] + array[d, 4 * hidden :]
        operands.append(b.constant(f"B{d}", both))
        attrs["bias_along"] = "n"
    gates = b.emit("matmul", operands, (steps * batch, 4 * hidden), **attrs)
    f, g, h = (_activation(n) for n in names)
    state, cell = _state(b, 5, d), _state(b, 6, d)
    states: dict[int, str] = {}
    for t in reversed(range(steps)) if backward else range(steps):
        now = b.part(gates, 0, t * batch, batch)
        if state is not None:
            again = b.emit("matmul", [state, r], (batch, 4 * hidden))
            now = b.call("add", again, now)

        def gate(number: int, function: str, now: str = now) -> str:
            return b.call(function, b.part(now, 1, number * hidden, hidden))

        fresh = b.call("mul", gate(0, f), gate(3, g))
        cell = fresh if cell is None else b.call("add", b.call("mul", gate(2, f), cell), fresh)
        state = b.call("mul", gate(1, f), b.call(h, cell))
        states[t] = state
    assert cell is not None
    return [states[t] for t in range(steps)], cell


LSTM: dict[str, Callable[[Draft, Node], None]] = {"LSTM": _lstm}
"""Recurrent ONNX operators."""

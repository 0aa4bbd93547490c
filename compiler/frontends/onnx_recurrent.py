"""Converters of LSTM, GRU and RNN: one product for all inputs, then a product and functions a step.

In: a node and its draft; the number of steps is fixed. Out: `matmul`, `elementwise` and `concat`
operators for all steps of each direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...backend.isa.errors import DstcError
from .draft import INTEGER, Draft
from .onnx_build import Build
from .onnx_node import Node

States = tuple[str | None, ...]
"""What goes from step to step, batch x hidden each; None is zero."""


@dataclass(frozen=True)
class _Layer:
    """One direction of a recurrent layer: its operands, on matrices.

    `r`: hidden x (gates * hidden), as `rb`, the bias of the recurrent product; `peepholes`: rows.
    """

    b: Build
    hidden: int
    r: str
    rb: str | None
    peepholes: str | None
    functions: tuple[Callable[[str], str], ...]

    def part(self, value: str, number: int, count: int = 1) -> str:
        """`count` gates of a matrix, from gate `number` on."""
        axis = len(self.b.shape(value)) - 1
        return self.b.part(value, axis, number * self.hidden, count * self.hidden)

    def recurrent(self, state: str, first: int = 0, count: int = 0) -> str:
        """The product of a state and some (or all) gates of R."""
        weights, bias = self.r, self.rb
        if count:
            weights = _columns(self.b, weights, first * self.hidden, count * self.hidden)
            bias = None if bias is None else self.part(bias, first, count)
        shape = (self.b.shape(state)[0], self.b.shape(weights)[1])
        product = self.b.emit("matmul", [state, weights], shape)
        return product if bias is None else self.b.call("add", product, bias)

    def plus(self, value: str, state: str | None, peephole: int) -> str:
        """value + P * state, where there are peepholes and a state."""
        if self.peepholes is None or state is None:
            return value
        scaled = self.b.call("mul", self.part(self.peepholes, peephole), state)
        return self.b.call("add", value, scaled)


def _columns(b: Build, value: str, start: int, count: int) -> str:
    """Columns of a matrix; of a constant one as one that is stored."""
    array = b.known(value)
    if array is None:
        return b.part(value, 1, start, count)
    name = f"{value}.{start}"
    if b.known(name) is None:
        b.draft.constants[name] = array[:, start : start + count].copy()
    return name


def _lstm(layer: _Layer, now: str, states: States) -> States:
    """Gates i, o, f, c; state and cell."""
    b, (state, cell) = layer.b, states
    f, g, h = layer.functions
    if state is not None:
        now = b.call("add", layer.recurrent(state), now)
    fresh = b.call("mul", f(layer.plus(layer.part(now, 0), cell, 0)), g(layer.part(now, 3)))
    if cell is not None:
        kept = b.call("mul", f(layer.plus(layer.part(now, 2), cell, 2)), cell)
        fresh = b.call("add", kept, fresh)
    return b.call("mul", f(layer.plus(layer.part(now, 1), fresh, 1)), h(fresh)), fresh


def _gru(layer: _Layer, now: str, states: States) -> States:
    """Gates z, r, h; (1 - z) h + z state."""
    b, (state,) = layer.b, states
    f, g = layer.functions
    candidate = layer.part(now, 2)
    if state is None:
        if layer.rb is not None:
            now = b.call("add", now, layer.rb)
            bias = layer.part(layer.rb, 2)
            if b.node.flag("linear_before_reset"):
                bias = b.call("mul", f(layer.part(now, 1)), bias)
            candidate = b.call("add", candidate, bias)
        update = f(layer.part(now, 0))
        fresh = g(candidate)
        return (b.call("sub", fresh, b.call("mul", update, fresh)),)
    if b.node.flag("linear_before_reset"):
        again = layer.recurrent(state)
        both = b.call("add", layer.part(now, 0, 2), layer.part(again, 0, 2))
        reset = f(layer.part(both, 1))
        fresh = g(b.call("add", candidate, b.call("mul", reset, layer.part(again, 2))))
    else:
        both = b.call("add", layer.part(now, 0, 2), layer.recurrent(state, 0, 2))
        reset = f(layer.part(both, 1))
        again = layer.recurrent(b.call("mul", reset, state), 2, 1)
        fresh = g(b.call("add", candidate, again))
    update = f(layer.part(both, 0))
    kept = b.call("mul", update, b.call("sub", state, fresh))
    return (b.call("add", fresh, kept),)


def _rnn(layer: _Layer, now: str, states: States) -> States:
    """f of the sum."""
    (state,), (f,) = states, layer.functions
    if state is not None:
        now = layer.b.call("add", layer.recurrent(state), now)
    elif layer.rb is not None:
        now = layer.b.call("add", now, layer.rb)
    return (f(now),)


@dataclass(frozen=True)
class _Kind:
    """A recurrent operator: gates, its activations, inputs of initial states, what a step does."""

    gates: int
    activations: tuple[str, ...]
    initial: tuple[int, ...]
    step: Callable[[_Layer, str, States], States]
    joint_bias: bool = True
    """The biases of both products only occur as a sum."""


_KINDS = {
    "LSTM": _Kind(4, ("Sigmoid", "Tanh", "Tanh"), (5, 6), _lstm),
    "GRU": _Kind(3, ("Sigmoid", "Tanh"), (5,), _gru, joint_bias=False),
    "RNN": _Kind(1, ("Tanh",), (5,), _rnn),
}


def _convert(draft: Draft, node: Node) -> None:
    b, kind = Build(draft, node), _KINDS[node.op]
    direction = node.attrs.get("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    for key in ("clip", "input_forget"):
        if node.attrs.get(key):
            raise DstcError(f"{key} is not supported")
    x = node.inputs[0]
    if node.flag("layout"):
        x = b.transpose(x, (1, 0, 2))
    names = [str(n) for n in node.attrs.get("activations", kind.activations * directions)]
    functions = _functions(b, names)
    count = len(kind.activations)
    sequences: list[str] = []
    last: list[States] = []
    for d in range(directions):
        backward = direction == "reverse" or d == 1
        own = functions[count * d : count * (d + 1)]
        steps, ends = _direction(b, kind, x, d, backward, own)
        last.append(ends)
        sequences.append(_stack(b, steps))
    _, _, batch, hidden = draft.shape(sequences[0])
    whole = b.concat(sequences, 1)
    states = [_end(b, [pair[i] for pair in last], batch, hidden) for i in range(len(kind.initial))]
    if node.flag("layout"):
        whole = b.transpose(whole, (2, 0, 1, 3))
        states = [b.transpose(end, (1, 0, 2)) for end in states]
    for output, value in zip(node.outputs, (whole, *states), strict=False):
        if output:
            b.give(value, output)


def _end(b: Build, values: Sequence[str | None], batch: int, hidden: int) -> str:
    """Directions x batch x hidden from the last states."""
    assert all(v is not None for v in values)
    return b.concat([b.reshape(v, (1, batch, hidden)) for v in values if v is not None], 0)


def _stack(b: Build, steps: Sequence[str]) -> str:
    """T x 1 x batch x hidden from the states of all steps, in the order of time."""
    batch, hidden = b.shape(steps[0])
    return b.concat([b.reshape(h, (1, 1, batch, hidden)) for h in steps], 0)


def _functions(b: Build, names: Sequence[str]) -> list[Callable[[str], str]]:
    """Activations, with their parameters in the order of ONNX's lists."""
    alphas = [float(a) for a in b.node.attrs.get("activation_alpha", ())]
    betas = [float(a) for a in b.node.attrs.get("activation_beta", ())]

    def plain(function: str) -> Callable[[str], str]:
        return lambda x: b.call(function, x)

    found: list[Callable[[str], str]] = []
    for name in names:
        match name.lower():
            case "sigmoid" | "tanh" | "relu" | "softplus" as function:
                found.append(plain(function))
            case "affine":
                found.append(_affine(b, alphas.pop(0), betas.pop(0)))
            case "leakyrelu":
                found.append(_leaky(b, alphas.pop(0) if alphas else 0.01))
            case "hardsigmoid":
                alpha, beta = (alphas.pop(0) if alphas else 0.2, betas.pop(0) if betas else 0.5)
                found.append(_ramp(b, alpha, beta))
            case "softsign":
                found.append(lambda x: b.call("div", x, b.call("add", b.call("abs", x), 1.0)))
            case _:
                raise DstcError(
                    f"activation {name} is not supported; there are Affine, HardSigmoid, "
                    "LeakyRelu, Relu, Sigmoid, Softplus, Softsign, Tanh"
                )
    return found


def _affine(b: Build, alpha: float, beta: float) -> Callable[[str], str]:
    return lambda x: b.call("add", b.call("mul", x, alpha), beta)


def _leaky(b: Build, alpha: float) -> Callable[[str], str]:
    return lambda x: b.call("add", b.call("relu", x), b.call("mul", b.call("min", x, 0.0), alpha))


def _ramp(b: Build, alpha: float, beta: float) -> Callable[[str], str]:
    line = _affine(b, alpha, beta)
    return lambda x: b.call("min", b.call("relu", line(x)), 1.0)


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


def _biases(b: Build, kind: _Kind, d: int, size: int) -> tuple[str | None, str | None]:
    """Of the input product, which has both if they only occur as a sum, and the recurrent one."""
    bias = b.node.optional(3)
    if bias is None:
        return None, None
    array = b.known(bias)
    if array is None:
        raise DstcError("B must be constant")
    own, again = array[d, :size], array[d, size:]
    if kind.joint_bias:
        return b.constant(f"B{d}", own + again), None
    return b.constant(f"B{d}", own), b.constant(f"Rb{d}", again) if again.any() else None


def _row(b: Build, index: int, d: int) -> str | None:
    """Direction d of the peepholes."""
    value = b.node.optional(index) if b.node.op == "LSTM" else None
    if value is None:
        return None
    return b.reshape(b.part(value, 0, d, 1), b.shape(value)[1:])


class _Lengths:
    """Sequences of several lengths: behind its end a sequence keeps its states and gives zeros."""

    def __init__(self, b: Build, batch: int, steps: int):
        self.b = b
        value = b.node.optional(4)
        known = None if value is None else b.known(value)
        if known is not None and (known == steps).all():
            value = None
        self.value = None
        if value is not None:
            self.value = b.reshape(b.cast(value, INTEGER), (batch, 1))

    def held(self, t: int, fresh: States, before: States) -> tuple[States, str]:
        """(states, what the layer gives) of step t."""
        assert fresh[0] is not None
        if self.value is None:
            return fresh, fresh[0]
        b = self.b
        runs = b.call("gt", self.value, t)

        def chosen(new: str | None, old: str | None) -> str:
            assert new is not None
            return b.call("where", runs, new, 0.0 if old is None else old)

        states = tuple(chosen(n, o) for n, o in zip(fresh, before, strict=True))
        return states, chosen(fresh[0], None)


def _direction(
    b: Build, kind: _Kind, x: str, d: int, backward: bool,
    functions: Sequence[Callable[[str], str]],
) -> tuple[list[str], States]:  # fmt: skip
    """(results of all steps in the order of time, last states)."""
    steps, batch, size = b.shape(x)
    w, r = _weights(b, 1, d), _weights(b, 2, d)
    hidden = b.shape(r)[0]
    width = kind.gates * hidden
    bias, rb = _biases(b, kind, d, width)
    operands, attrs = [b.reshape(x, (steps * batch, size)), w], dict[str, str]()
    if bias is not None:
        operands.append(bias)
        attrs["bias_along"] = "n"
    gates = b.emit("matmul", operands, (steps * batch, width), **attrs)
    layer = _Layer(b, hidden, r, rb, _row(b, 7, d), tuple(functions))
    lengths = _Lengths(b, batch, steps)
    states: States = tuple(_state(b, index, d) for index in kind.initial)
    found: dict[int, str] = {}
    for t in reversed(range(steps)) if backward else range(steps):
        now = b.part(gates, 0, t * batch, batch)
        states, found[t] = lengths.held(t, kind.step(layer, now, states), states)
    return [found[t] for t in range(steps)], states


RECURRENT: dict[str, Callable[[Draft, Node], None]] = dict.fromkeys(_KINDS, _convert)
"""Recurrent ONNX operators."""

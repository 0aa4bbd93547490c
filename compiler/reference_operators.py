"""Operators for ONNX's reference evaluator, which has them only in part, or (1.23: LRN) wrong.

In: the inputs and attributes of LSTM, GRU, RNN and LRN as ONNX defines them. Out: their outputs in
the type of X, on numpy; written from ONNX's formulas, not from our converters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

Array = NDArray[Any]
Function = Callable[[Array], Array]


Body = Callable[[Array, Sequence[float]], Array]

_FUNCTIONS: dict[str, tuple[tuple[float, ...], Body]] = {
    "affine": ((1.0, 0.0), lambda x, c: c[0] * x + c[1]),
    "elu": ((1.0,), lambda x, c: np.where(x >= 0, x, c[0] * np.expm1(np.minimum(x, 0)))),
    "hardsigmoid": ((0.2, 0.5), lambda x, c: np.clip(c[0] * x + c[1], 0, 1)),
    "leakyrelu": ((0.01,), lambda x, c: np.where(x >= 0, x, c[0] * x)),
    "relu": ((), lambda x, c: np.maximum(x, 0)),
    "scaledtanh": ((1.0, 1.0), lambda x, c: c[0] * np.tanh(c[1] * x)),
    "sigmoid": ((), lambda x, c: 1 / (1 + np.exp(-x))),
    "softplus": ((), lambda x, c: np.logaddexp(x, 0)),
    "softsign": ((), lambda x, c: x / (1 + np.abs(x))),
    "tanh": ((), lambda x, c: np.tanh(x)),
    "thresholdedrelu": ((1.0,), lambda x, c: np.where(x >= c[0], x, 0)),
}
"""Activation -> defaults of its alpha and beta, and what it computes from x and these."""


def _functions(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None
) -> list[Function]:
    lists = [list(alphas or ()), list(betas or ())]

    def one(name: str) -> Function:
        defaults, body = _FUNCTIONS[name.lower()]
        pairs = zip(lists, defaults, strict=False)
        given = [values.pop(0) if values else default for values, default in pairs]
        return lambda x: body(x, given)

    return [one(name) for name in names]


class _Recurrent(OpRun):
    """What the three have in common."""

    op_domain = ""
    gates = 1
    defaults: tuple[str, ...] = ("Tanh",)
    states = 1

    def step(
        self, x: Array, r: Array, rb: Array, p: Array | None, states: list[Array],
        functions: list[Function], settings: dict[str, Any],
    ) -> list[Array]:  # fmt: skip
        """New states from those before; `x`: the input's product with its bias."""
        raise NotImplementedError

    def _run(self, *inputs: Any, **settings: Any) -> Any:
        x, w, r = (np.asarray(a) for a in inputs[:3])
        rest: list[Array | None] = [*inputs[3:], *[None] * 6]
        bias, lengths, *others = rest
        initial, peepholes = others[: self.states], others[self.states]
        batch_first = bool(settings.get("layout"))
        if batch_first:
            x = x.swapaxes(0, 1)
            initial = [s if s is None else s.swapaxes(0, 1) for s in initial]
        steps, batch, _ = x.shape
        directions, width, hidden = r.shape
        direction = settings.get("direction") or "forward"
        names = settings.get("activations") or self.defaults * directions
        functions = _functions(
            names, settings.get("activation_alpha"), settings.get("activation_beta")
        )
        whole = np.zeros((steps, directions, batch, hidden), x.dtype)
        ends = [np.zeros((directions, batch, hidden), x.dtype) for _ in range(self.states)]
        until = np.full(batch, steps) if lengths is None else np.asarray(lengths)
        count = len(self.defaults)
        for d in range(directions):
            b = np.zeros(2 * width, x.dtype) if bias is None else bias[d]
            states = [np.zeros((batch, hidden), x.dtype) if s is None else s[d] for s in initial]
            backward = direction == "reverse" or d == 1
            for t in reversed(range(steps)) if backward else range(steps):
                fresh = self.step(
                    x[t] @ w[d].T + b[:width], r[d].T, b[width:],
                    None if peepholes is None else peepholes[d], states,
                    functions[count * d : count * (d + 1)], settings,
                )  # fmt: skip
                runs = (t < until)[:, None]
                states = [np.where(runs, n, o) for n, o in zip(fresh, states, strict=True)]
                whole[t, d] = np.where(runs, fresh[0], 0)
            for end, state in zip(ends, states, strict=True):
                end[d] = state
        if batch_first:
            whole = whole.transpose(2, 0, 1, 3)
            ends = [end.swapaxes(0, 1) for end in ends]
        return tuple(a.astype(x.dtype) for a in (whole, *ends))[
            : max(1, len(self.onnx_node.output))
        ]


class LSTM(_Recurrent):
    """Gates i, o, f, c."""

    gates, states, defaults = 4, 2, ("Sigmoid", "Tanh", "Tanh")

    def step(
        self, x: Array, r: Array, rb: Array, p: Array | None, states: list[Array],
        functions: list[Function], settings: dict[str, Any],
    ) -> list[Array]:  # fmt: skip
        """As in ONNX's description of LSTM."""
        (state, cell), (f, g, h) = states, functions
        i, o, forget, c = np.split(x + state @ r + rb, 4, axis=1)
        pi, po, pf = np.split(np.zeros(3 * cell.shape[1]) if p is None else p, 3)
        fresh = f(forget + pf * cell) * cell + f(i + pi * cell) * g(c)
        return [f(o + po * fresh) * h(fresh), fresh]


class GRU(_Recurrent):
    """Gates z, r, h."""

    gates, defaults = 3, ("Sigmoid", "Tanh")

    def step(
        self, x: Array, r: Array, rb: Array, p: Array | None, states: list[Array],
        functions: list[Function], settings: dict[str, Any],
    ) -> list[Array]:  # fmt: skip
        """As in ONNX's description of GRU."""
        (state,), (f, g) = states, functions
        n = state.shape[1]
        update = f(x[:, :n] + state @ r[:, :n] + rb[:n])
        reset = f(x[:, n : 2 * n] + state @ r[:, n : 2 * n] + rb[n : 2 * n])
        if settings.get("linear_before_reset"):
            fresh = g(x[:, 2 * n :] + reset * (state @ r[:, 2 * n :] + rb[2 * n :]))
        else:
            fresh = g(x[:, 2 * n :] + (reset * state) @ r[:, 2 * n :] + rb[2 * n :])
        return [(1 - update) * fresh + update * state]


class RNN(_Recurrent):
    """One function."""

    def step(
        self, x: Array, r: Array, rb: Array, p: Array | None, states: list[Array],
        functions: list[Function], settings: dict[str, Any],
    ) -> list[Array]:  # fmt: skip
        """As in ONNX's description of RNN."""
        return [functions[0](x + states[0] @ r + rb)]


class LRN(OpRun):
    """Local response normalisation: the evaluator's own takes the batch for the channels."""

    op_domain = ""

    def _run(self, *inputs: Any, **settings: Any) -> Any:
        (x,) = inputs
        size, channels = int(settings["size"]), x.shape[1]
        before, behind = (size - 1) // 2, size // 2
        sums = np.stack(
            [
                (x[:, max(0, c - before) : min(channels, c + behind + 1)] ** 2).sum(axis=1)
                for c in range(channels)
            ],
            axis=1,
        )
        base = settings["bias"] + settings["alpha"] / size * sums
        return ((x / base ** settings["beta"]).astype(x.dtype),)


OPERATORS: list[type[OpRun]] = [LSTM, GRU, RNN, LRN]
"""What the evaluator gets as its own."""

"""Functions by element, written once: what the kernels compute is what the interpreter computes.

In: an `Arithmetic`, which is numpy (the interpreter) or a kernel under construction (the passes),
and its values. Out: `FUNCTIONS`, a table by name; every step is one instruction's f32 or i32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")
"""An f32 or i32 value of the arithmetic."""

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453

RELATIONS = ("eq", "ne", "lt", "le", "gt", "ge")


class Arithmetic(ABC, Generic[V]):
    """What lanes can do. f32 rounds to nearest even at every step, i32 wraps.

    Predicates are of any type; truth values that are stored are i32, 0 or 1.
    """

    @abstractmethod
    def number(self, value: float) -> V:
        """The f32 nearest to `value`."""

    @abstractmethod
    def integer(self, value: int) -> V:
        """An i32."""

    @abstractmethod
    def add(self, a: V, b: V) -> V:
        """a + b, f32."""

    @abstractmethod
    def sub(self, a: V, b: V) -> V:
        """a - b, f32."""

    @abstractmethod
    def mul(self, a: V, b: V) -> V:
        """a * b, f32."""

    @abstractmethod
    def maximum(self, a: V, b: V) -> V:
        """The larger f32; NaN where an operand is."""

    @abstractmethod
    def minimum(self, a: V, b: V) -> V:
        """The smaller f32; NaN where an operand is."""

    @abstractmethod
    def special(self, function: str, a: V) -> V:
        """MUFU: rcp, rsq, sqrt, ex2, lg2, tanh, sin or cos of an f32."""

    @abstractmethod
    def absolute(self, a: V) -> V:
        """|a|: the sign bit cleared."""

    @abstractmethod
    def negate(self, a: V) -> V:
        """-a: the sign bit flipped."""

    @abstractmethod
    def compare(self, relation: str, a: V, b: V) -> Any:
        """A predicate on f32; with a NaN only `ne` holds."""

    @abstractmethod
    def compare_integers(self, relation: str, a: V, b: V) -> Any:
        """A predicate on signed i32."""

    @abstractmethod
    def select(self, predicate: Any, a: V, b: V) -> V:
        """predicate ? a : b, of values of one type."""

    @abstractmethod
    def to_integer(self, a: V) -> V:
        """f32 to i32, towards zero, saturating; NaN gives 0."""

    @abstractmethod
    def to_float(self, a: V) -> V:
        """i32 to f32, rounded to nearest even."""

    @abstractmethod
    def add_integers(self, a: V, b: V) -> V:
        """a + b."""

    @abstractmethod
    def sub_integers(self, a: V, b: V) -> V:
        """a - b."""

    @abstractmethod
    def mul_integers(self, a: V, b: V) -> V:
        """a * b."""

    def truth(self, predicate: Any) -> V:
        """1 where the predicate holds, else 0."""
        return self.select(predicate, self.integer(1), self.integer(0))

    def holds(self, truth: V) -> Any:
        """The predicate of a stored truth value."""
        return self.compare_integers("ne", truth, self.integer(0))


A = Arithmetic[Any]
Body = Callable[..., Any]
Unary = Callable[[A, Any], Any]
Binary = Callable[[A, Any, Any], Any]


@dataclass(frozen=True)
class Function:
    """One function by element.

    `floats`, `integers`: what it computes from an `Arithmetic` and operands of that type (None: not
    for that type). `truth`: the result is a truth value (i32). `condition`: the first operand is
    one. `costly`: it takes a special function, so it is not computed twice for nothing.
    """

    name: str
    operands: int
    summary: str
    floats: Body | None
    integers: Body | None = None
    truth: bool = False
    condition: bool = False
    costly: bool = False


def _exp(m: A, x: Any) -> Any:
    return m.special("ex2", m.mul(x, m.number(LOG2_E)))


def _log(m: A, x: Any) -> Any:
    return m.mul(m.special("lg2", x), m.number(LN_2))


def _div(m: A, a: Any, b: Any) -> Any:
    return m.mul(a, m.special("rcp", b))


_ERF_P = 0.3275911
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| <= 1.5e-7."""
ERF_ERROR = 1.5e-7


def _erf(m: A, x: Any) -> Any:
    """1 - (a1 t + ... + a5 t^5) exp(-x^2) for t = 1 / (1 + p |x|), with the sign of x."""
    size = m.absolute(x)
    t = m.special("rcp", m.add(m.mul(size, m.number(_ERF_P)), m.number(1)))
    poly = m.number(_ERF[-1])
    for coefficient in reversed(_ERF[:-1]):
        poly = m.add(m.mul(poly, t), m.number(coefficient))
    tail = m.mul(m.mul(poly, t), _exp(m, m.mul(m.negate(x), x)))
    value = m.sub(m.number(1), tail)
    return m.select(m.compare("lt", x, m.number(0)), m.negate(value), value)


def _gelu(m: A, x: Any) -> Any:
    half = m.mul(x, m.number(0.5))
    return m.mul(half, m.add(_erf(m, m.mul(x, m.number(0.7071067811865476))), m.number(1)))


def _gelu_tanh(m: A, x: Any) -> Any:
    cube = m.mul(m.mul(x, x), x)
    inner = m.add(x, m.mul(cube, m.number(0.044715)))
    tanh = m.special("tanh", m.mul(inner, m.number(0.7978845608028654)))
    return m.mul(m.mul(x, m.number(0.5)), m.add(tanh, m.number(1)))


def _sigmoid(m: A, x: Any) -> Any:
    return m.special("rcp", m.add(_exp(m, m.negate(x)), m.number(1)))


def _softplus(m: A, x: Any) -> Any:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = _log(m, m.add(_exp(m, m.negate(m.absolute(x))), m.number(1)))
    return m.add(m.maximum(x, m.number(0)), small)


WHOLE = 2.0**23
"""From here on every f32 is an integer."""


def _truncated(m: A, x: Any) -> Any:
    """Towards zero; the sign of a zero is the operand's no longer."""
    whole = m.to_float(m.to_integer(x))
    return m.select(m.compare("lt", m.absolute(x), m.number(WHOLE)), whole, x)


def _floor(m: A, x: Any) -> Any:
    whole = _truncated(m, x)
    return m.select(m.compare("gt", whole, x), m.sub(whole, m.number(1)), whole)


def _ceil(m: A, x: Any) -> Any:
    whole = _truncated(m, x)
    return m.select(m.compare("lt", whole, x), m.add(whole, m.number(1)), whole)


def _round(m: A, x: Any) -> Any:
    """To nearest, ties to even: adding 2^23 leaves no place for a fraction."""
    size = m.absolute(x)
    rounded = m.sub(m.add(size, m.number(WHOLE)), m.number(WHOLE))
    rounded = m.select(m.compare("lt", size, m.number(WHOLE)), rounded, size)
    return m.select(m.compare("lt", x, m.number(0)), m.negate(rounded), rounded)


def _sign(m: A, x: Any) -> Any:
    zero = m.number(0)
    below = m.select(m.compare("lt", x, zero), m.number(-1), x)
    return m.select(m.compare("gt", x, zero), m.number(1), below)


def _sign_integers(m: A, x: Any) -> Any:
    zero = m.integer(0)
    below = m.select(m.compare_integers("lt", x, zero), m.integer(-1), zero)
    return m.select(m.compare_integers("gt", x, zero), m.integer(1), below)


def _pow(m: A, x: Any, y: Any) -> Any:
    """2^(y log2 |x|), with the sign of x for an odd y, NaN for x < 0 and a fraction; x^0 = 1."""
    size = m.special("ex2", m.mul(y, m.special("lg2", m.absolute(x))))
    whole = _truncated(m, y)
    halved = m.mul(whole, m.number(0.5))
    even = m.compare("eq", _truncated(m, halved), halved)
    signed = m.select(even, size, m.negate(size))
    signed = m.select(m.compare("eq", whole, y), signed, m.number(float("nan")))
    result = m.select(m.compare("lt", x, m.number(0)), signed, size)
    return m.select(m.compare("eq", y, m.number(0)), m.number(1), result)


def _divide_integers(m: A, a: Any, b: Any) -> Any:
    """Towards zero. The f32 quotient's error is taken out in two rounds; division by 0 gives 0."""
    quotient = m.integer(0)
    rest = a
    inverse = m.special("rcp", m.to_float(b))
    for _ in range(3):
        step = m.to_integer(m.mul(m.to_float(rest), inverse))
        quotient = m.add_integers(quotient, step)
        rest = m.sub_integers(a, m.mul_integers(quotient, b))
    # the rest has the sign of a and is smaller than b, but for a last step
    size = _abs_integers(m, b)
    high = m.compare_integers("ge", rest, size)
    low = m.compare_integers("le", rest, m.sub_integers(m.integer(0), size))
    up = m.select(m.compare_integers("lt", b, m.integer(0)), m.integer(-1), m.integer(1))
    down = m.sub_integers(m.integer(0), up)
    zero = m.integer(0)
    step = m.select(high, up, m.select(low, down, zero))
    quotient = m.add_integers(quotient, step)
    rest = m.sub_integers(a, m.mul_integers(quotient, b))
    # towards zero: a rest of the other sign means one too far
    far_up = m.mul_integers(_sign_integers(m, rest), _sign_integers(m, a))
    wrong = m.compare_integers("lt", far_up, zero)
    back = m.mul_integers(_sign_integers(m, rest), up)
    quotient = m.select(wrong, m.add_integers(quotient, back), quotient)
    return m.select(m.compare_integers("eq", b, zero), zero, quotient)


def _remainder_integers(m: A, a: Any, b: Any) -> Any:
    """With the sign of b, as Python's %."""
    rest = m.sub_integers(a, m.mul_integers(_divide_integers(m, a, b), b))
    signs = m.mul_integers(_sign_integers(m, rest), _sign_integers(m, b))
    return m.select(m.compare_integers("lt", signs, m.integer(0)), m.add_integers(rest, b), rest)


def _remainder(m: A, a: Any, b: Any) -> Any:
    """a - b floor(a / b)."""
    return m.sub(a, m.mul(b, _floor(m, _div(m, a, b))))


def _abs_integers(m: A, x: Any) -> Any:
    zero = m.integer(0)
    return m.select(m.compare_integers("lt", x, zero), m.sub_integers(zero, x), x)


def _unary(
    name: str, summary: str, floats: Unary | None, integers: Unary | None = None,
    *, truth: bool = False, costly: bool = False,
) -> Function:  # fmt: skip
    return Function(name, 1, summary, floats, integers, truth=truth, costly=costly)


def _binary(
    name: str, summary: str, floats: Binary | None, integers: Binary | None = None,
    *, truth: bool = False, costly: bool = False,
) -> Function:  # fmt: skip
    return Function(name, 2, summary, floats, integers, truth=truth, costly=costly)


def _choose_integers(relation: str) -> Binary:
    return lambda m, a, b: m.select(m.compare_integers(relation, a, b), a, b)


def _comparison(name: str) -> Function:
    return _binary(
        name, f"1 where a {name} b, else 0",
        lambda m, a, b: m.truth(m.compare(name, a, b)),
        lambda m, a, b: m.truth(m.compare_integers(name, a, b)), truth=True,
    )  # fmt: skip


def _logic(name: str, summary: str, body: Binary) -> Function:
    return _binary(name, summary, None, body, truth=True)


def _where(m: A, condition: Any, a: Any, b: Any) -> Any:
    return m.select(m.holds(condition), a, b)


_ROWS = (
    _binary("add", "a + b", lambda m, a, b: m.add(a, b),
             lambda m, a, b: m.add_integers(a, b)),
    _binary("sub", "a - b", lambda m, a, b: m.sub(a, b),
             lambda m, a, b: m.sub_integers(a, b)),
    _binary("mul", "a * b", lambda m, a, b: m.mul(a, b),
             lambda m, a, b: m.mul_integers(a, b)),
    _binary("div", "a times the f32 nearest to 1 / b; integers: towards zero", _div,
             _divide_integers, costly=True),
    _binary("mod", "a - b floor(a / b)", _remainder, _remainder_integers, costly=True),
    _binary("min", "the smaller; NaN wins", lambda m, a, b: m.minimum(a, b),
             _choose_integers("lt")),
    _binary("max", "the larger; NaN wins", lambda m, a, b: m.maximum(a, b),
             _choose_integers("gt")),
    _binary("pow", "2^(b log2 |a|), with the sign of an odd power", _pow, costly=True),
    _unary("neg", "-a", lambda m, x: m.negate(x),
             lambda m, x: m.sub_integers(m.integer(0), x)),
    _unary("abs", "|a|", lambda m, x: m.absolute(x), _abs_integers),
    _unary("sign", "-1, 0 or 1", _sign, _sign_integers),
    _unary("relu", "max(a, 0)", lambda m, x: m.maximum(x, m.number(0))),
    _unary("exp", "2^(a log2 e)", _exp, costly=True),
    _unary("log", "log2 a times ln 2", _log, costly=True),
    _unary("sqrt", "square root", lambda m, x: m.special("sqrt", x), costly=True),
    _unary("rsqrt", "1 / square root", lambda m, x: m.special("rsq", x), costly=True),
    _unary("reciprocal", "1 / a", lambda m, x: m.special("rcp", x), costly=True),
    _unary("tanh", "hyperbolic tangent", lambda m, x: m.special("tanh", x), costly=True),
    _unary("sigmoid", "1 / (1 + exp(-a))", _sigmoid, costly=True),
    _unary("softplus", "log(1 + exp(a))", _softplus, costly=True),
    _unary("erf", "error function, absolute error 1.5e-7", _erf, costly=True),
    _unary("gelu", "a (1 + erf(a / sqrt 2)) / 2", _gelu, costly=True),
    _unary("gelu_tanh", "gelu by tanh", _gelu_tanh, costly=True),
    _unary("sin", "sine", lambda m, x: m.special("sin", x), costly=True),
    _unary("cos", "cosine", lambda m, x: m.special("cos", x), costly=True),
    _unary("floor", "largest integer below", _floor),
    _unary("ceil", "smallest integer above", _ceil),
    _unary("round", "nearest integer, ties to even", _round),
    *(_comparison(name) for name in RELATIONS),
    _logic("and", "1 where both hold", lambda m, a, b: m.truth(
        m.compare_integers("ne", m.mul_integers(a, b), m.integer(0)))),
    _logic("or", "1 where one holds", lambda m, a, b: m.truth(
        m.compare_integers("ne", m.add_integers(a, b), m.integer(0)))),
    _logic("xor", "1 where one but not both hold", lambda m, a, b: m.truth(
        m.compare_integers("ne", a, b))),
    _unary("not", "1 where it does not hold", None,
             lambda m, x: m.truth(m.compare_integers("eq", x, m.integer(0))), truth=True),
    Function("where", 3, "a holds ? b : c", _where, _where, condition=True),
)  # fmt: skip

FUNCTIONS: dict[str, Function] = {f.name: f for f in _ROWS}
"""Functions by element, by name."""

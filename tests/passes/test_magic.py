"""Division by constants as multiplication: the numbers of `convert-tile-to-isa`."""

import pytest
from dstc.passes.isa_arith import magic
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 1 << 31


def divide(n: int, divisor: int) -> int:
    """As IMAD.HI and SHR do it."""
    m, s = magic(divisor)
    assert 0 <= m < 1 << 32
    assert 0 <= s < 32
    return (n * m & (1 << 64) - 1) >> 32 >> s


DIVISORS = st.one_of(st.integers(2, 1000), st.integers(2, (1 << 32) - 1))


@given(divisor=DIVISORS, n=st.integers(0, LIMIT - 1))
def test_any_dividend_below_2_to_31(divisor: int, n: int) -> None:
    assert divide(n, divisor) == n // divisor


@given(divisor=DIVISORS, quotient=st.integers(0, LIMIT - 1), offset=st.integers(-1, 1))
def test_dividends_next_to_a_multiple(divisor: int, quotient: int, offset: int) -> None:
    n = quotient % (LIMIT // divisor + 1) * divisor + offset
    if 0 <= n < LIMIT:
        assert divide(n, divisor) == n // divisor


@pytest.mark.parametrize("divisor", [2, 3, 5, 7, 9, 49, 641, 65537, LIMIT - 1, LIMIT, LIMIT + 1])
def test_the_largest_dividends(divisor: int) -> None:
    for n in (0, 1, divisor - 1, divisor, LIMIT // 2, LIMIT - 2, LIMIT - 1):
        if n < LIMIT:
            assert divide(n, divisor) == n // divisor

"""The calculator's functions and its bounds: every number that they let through has at most 4,000 digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import reduce

Number = Fraction | float
"""A fraction is exact, a float is not."""

MAX_DIGITS = 4_000
MAX_BITS = int(MAX_DIGITS * math.log2(10))


def bounded(value: Number | int) -> Number:
    """The value, as a fraction if it is exact.

    :raises ValueError: if it is no finite number, or has more than :data:`MAX_DIGITS` digits.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the result is no finite number")
        return value
    value = Fraction(value)
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _too_large()
    return value


def compute(do: Callable[[Number, Number], Number | int], left: Number, right: Number) -> Number:
    """The result of an operator, within the bounds.

    :raises ValueError: if it has none, or a larger one.
    """
    try:
        return bounded(do(left, right))
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except OverflowError:
        raise _too_large() from None


def power(base: Number, exponent: Number) -> Number:
    """``base ** exponent``; refused before it is computed if it would be larger than the bounds.

    :raises ValueError: if it is too large or not real.
    :raises ZeroDivisionError: for a negative power of zero.
    """
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator)
        root = _exact_root(base) if exponent.denominator == 2 else None
        if root is not None:
            return _whole_power(root, exponent.numerator)
    if base < 0 and exponent != int(exponent):
        raise ValueError("a negative number has no real power with a fractional exponent")
    return float(float(base) ** float(exponent))


def _whole_power(base: Fraction, exponent: int) -> Fraction:
    if abs(base) == 1 or base == 0:
        exponent = min(exponent, 2 + exponent % 2) if exponent > 0 else max(exponent, -2 - exponent % 2)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if bits * abs(exponent) > MAX_BITS:
        raise _too_large()
    return Fraction(base**exponent)


def _exact_root(value: Fraction) -> Fraction | None:
    """The square root, if it is a fraction."""
    if value < 0:
        return None
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    return root if root * root == value else None


def _too_large() -> ValueError:
    return ValueError(f"a number on the way has more than {MAX_DIGITS} digits, or is too large for an inexact function")


def _sqrt(value: Number) -> Number:
    exact = _exact_root(value) if isinstance(value, Fraction) else None
    return math.sqrt(value) if exact is None else exact


def _log(value: Number, base: Number | None = None) -> float:
    if base is not None:
        return _log(value) / _log(base)
    if isinstance(value, Fraction) and value > 0 and value.denominator == 1:
        return math.log(value.numerator)  # whole numbers have logarithms beyond the range of floats
    return math.log(value)


def _log10(value: Number) -> float:
    return math.log10(value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value)


def _log2(value: Number) -> float:
    return math.log2(value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value)


def _wave(function: Callable[[float], float]) -> Callable[[Number], float]:
    """A trigonometric function whose zeros are zero: sin(pi) is 0 and not 1.2e-16."""

    def wave(angle: Number) -> float:
        radians = float(angle)
        value = function(radians)
        return 0.0 if abs(value) < 1e-15 and abs(radians) > 1 else value

    return wave


def _round(value: Number, digits: Number = Fraction(0)) -> Number:
    places = _whole(digits)
    if abs(places) > MAX_DIGITS:
        raise _too_large()
    return Fraction(round(value, places)) if isinstance(value, Fraction) else round(value, places)


def _whole(value: Number) -> int:
    if value != int(value):
        raise ValueError("it takes whole numbers")
    return int(value)


def _added(left: Number, right: Number) -> Number:
    return bounded(left + right)


def _sign(value: Number) -> int:
    return (value > 0) - (value < 0)


def _factorial(value: Number) -> Number:
    n = _whole(value)
    if abs(n) > MAX_DIGITS or math.lgamma(max(n, 0) + 1) > MAX_BITS * math.log(2):
        raise _too_large()
    return Fraction(math.factorial(n))


def _choose(function: Callable[[int, int], int]) -> Callable[[Number, Number], Number]:
    def choose(size: Number, taken: Number) -> Number:
        n, k = _whole(size), _whole(taken)
        if n.bit_length() > 64 or min(k, n) * max(n.bit_length() - 1, 1) > 4 * MAX_BITS:
            raise _too_large()
        return Fraction(function(n, k))

    return choose


def _lcm(left: Number, right: Number) -> Number:
    return bounded(Fraction(math.lcm(_whole(left), _whole(right))))


_INEXACT: dict[str, tuple[Callable[..., float], int, int]] = {
    "cbrt": (math.cbrt, 1, 1),
    "exp": (math.exp, 1, 1),
    "asin": (math.asin, 1, 1),
    "acos": (math.acos, 1, 1),
    "atan": (math.atan, 1, 1),
    "atan2": (math.atan2, 2, 2),
    "sinh": (math.sinh, 1, 1),
    "cosh": (math.cosh, 1, 1),
    "tanh": (math.tanh, 1, 1),
    "degrees": (math.degrees, 1, 1),
    "radians": (math.radians, 1, 1),
    "hypot": (math.hypot, 1, 99),
    "sin": (_wave(math.sin), 1, 1),
    "cos": (_wave(math.cos), 1, 1),
    "tan": (_wave(math.tan), 1, 1),
    "ln": (_log, 1, 1),
    "log": (_log, 1, 2),
    "log2": (_log2, 1, 1),
    "log10": (_log10, 1, 1),
}
_EXACT: dict[str, tuple[Callable[..., Number | int], int, int]] = {
    "sqrt": (_sqrt, 1, 1),
    "abs": (abs, 1, 1),
    "round": (_round, 1, 2),
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "trunc": (math.trunc, 1, 1),
    "sign": (_sign, 1, 1),
    "min": (min, 2, 99),
    "max": (max, 2, 99),
    "sum": (lambda *values: reduce(_added, values), 1, 99),
    "mean": (lambda *values: reduce(_added, values) / len(values), 1, 99),
    "mod": (lambda left, right: left % right, 2, 2),
    "gcd": (lambda *values: math.gcd(*map(_whole, values)), 1, 99),
    "lcm": (lambda *values: reduce(_lcm, values), 1, 99),
    "factorial": (_factorial, 1, 1),
    "comb": (_choose(math.comb), 2, 2),
    "perm": (_choose(math.perm), 2, 2),
}
_ALL: dict[str, tuple[Callable[..., Number | int], int, int]] = {**_INEXACT, **_EXACT}
FUNCTIONS = frozenset(_ALL)


def apply(name: str, arguments: list[Number]) -> Number:
    """The value of the function ``name`` (one of :data:`FUNCTIONS`), within the bounds.

    :raises ValueError: if the count of arguments is wrong, or it has no value there.
    """
    function, least, most = _ALL[name]
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ValueError(f"{name} takes {wanted} arguments, got {len(arguments)}")
    try:
        return bounded(function(*arguments))
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except OverflowError:
        raise _too_large() from None
    except ValueError as error:
        why = "it has no real value there" if "math domain" in str(error) else str(error)
        raise ValueError(f"{name}: {why}") from None

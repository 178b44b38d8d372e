"""A tool that calculates: exact where numbers allow it, bounded in time and memory, and without ``eval``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from agentrt import tool
from agentrt_tools.functions import FUNCTIONS, MAX_DIGITS, Number, apply, bounded, compute, power

MAX_CHARS = 2_000
MAX_DEPTH = 50
CONSTANTS = {"pi": math.pi, "π": math.pi, "e": math.e, "tau": math.tau}

_TOKEN = re.compile(
    r"\s*(?:(?P<hex>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+)|(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)"
    r"(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-zπ]\w*)|(?P<sign>\*\*|//|[-+*/%^(),]))"
)
_SPELLINGS = str.maketrans({"\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-"})
_SUMS: dict[str, Callable[[Number, Number], Number]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: dict[str, Callable[[Number, Number], Number]] = {
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


@tool(read_only=True, idempotent=True)
def calculate(
    expression: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_CHARS,
            description="E.g. '(1234.5 - 200) * 8%', '2**64', 'sqrt(2) / 3', 'round(10/3, 2)', 'log(1000, 10)'.",
        ),
    ],
) -> str:
    """Calculate an arithmetic expression; decimals and fractions are exact, so 0.1 + 0.2 is 0.3.

    Operators: + - * / // (floor) % (remainder, or percent at the end of a number) ** or ^ (power), parentheses.
    Functions: sqrt, cbrt, abs, round(x, digits), floor, ceil, trunc, sign, min, max, sum, mean, log(x, base), ln,
    log2, log10, exp, sin, cos, tan, asin, acos, atan, atan2, sinh, cosh, tanh (in radians), degrees, radians,
    hypot, mod, gcd, lcm, factorial, comb, perm. Constants: pi, e, tau. Numbers without thousands separators.
    """
    return show(evaluate(expression))


def evaluate(expression: str) -> Fraction | float:
    """The value of ``expression``: a fraction where the result is exact, else a float.

    :raises ValueError: if it is no expression, has no value, or is larger than the bounds; it says where.
    """
    if len(expression) > MAX_CHARS:
        raise ValueError(f"the expression has {len(expression)} characters, more than {MAX_CHARS}")
    parser = _Parser(expression, _tokens(expression.translate(_SPELLINGS)))
    value = parser.sum()
    if parser.kind != "end":
        raise parser.unexpected()
    return bounded(value)


def show(value: Fraction | float) -> str:
    """A value as people write it: an integer, an exact decimal, or a rounded one with its fraction beside it."""
    if isinstance(value, float):
        return _trimmed(f"{value:.15g}")
    if value.denominator == 1:
        return str(value.numerator)
    with localcontext() as context:
        context.prec = MAX_DIGITS
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
        if not context.flags[Inexact]:
            return f"{decimal:f}" if decimal.adjusted() >= -20 else str(decimal)
        context.prec = 20
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
    ratio = f"{value.numerator}/{value.denominator}"
    return f"{decimal} (rounded; exactly {ratio})" if len(ratio) <= 60 else f"{decimal} (rounded)"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            near = text[at:].lstrip()[:20]
            raise ValueError(f"{near!r} at character {at + 1} is not part of an expression")
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match.group(kind), match.start(kind) + 1))
        at = match.end()
    tokens.append(_Token("end", "", len(text) + 1))
    return tokens


@dataclass(slots=True)
class _Parser:
    """A recursive-descent parser that computes as it reads. ``sum`` is the whole grammar's start."""

    source: str
    tokens: list[_Token]
    at: int = 0
    depth: int = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    @property
    def text(self) -> str:
        return self.tokens[self.at].text

    def unexpected(self) -> ValueError:
        """The error for the token that can't stand here."""
        token = self.tokens[self.at]
        if token.kind == "end":
            return ValueError("the expression ends too early; is a parenthesis or a number missing?")
        hint = "; write products with *" if token.kind in ("number", "name") or token.text == "(" else ""
        hint = "; write numbers without thousands separators" if token.text == "," else hint
        return ValueError(f"unexpected {token.text!r} at character {token.at}{hint}")

    def take(self, text: str) -> bool:
        """Step over ``text`` if it comes next."""
        found = self.kind == "sign" and self.text == text
        self.at += found
        return found

    def sum(self) -> Number:
        """``product (('+' | '-') product)*``."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"the expression is nested deeper than {MAX_DEPTH}")
        value = self.product()
        while self.kind == "sign" and (do := _SUMS.get(self.text)):
            self.at += 1
            value = compute(do, value, self.product())
        self.depth -= 1
        return value

    def product(self) -> Number:
        """``signed (('*' | '/' | '//' | '%') signed)*``."""
        value = self.signed()
        while self.kind == "sign" and (do := _PRODUCTS.get(self.text)):
            self.at += 1
            value = compute(do, value, self.signed())
        return value

    def signed(self) -> Number:
        """``('+' | '-')* power``; a power binds tighter, so ``-2**2`` is -4."""
        negative = False
        while self.kind == "sign" and self.text in "+-":
            negative ^= self.text == "-"
            self.at += 1
        value = self.power()
        return -value if negative else value

    def power(self) -> Number:
        """``percent (('**' | '^') signed)?``, from the right: ``2**3**2`` is 512."""
        base = self.percent()
        if not (self.take("**") or self.take("^")):
            return base
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"the expression is nested deeper than {MAX_DEPTH}")
        value = compute(power, base, self.signed())
        self.depth -= 1
        return value

    def percent(self) -> Number:
        """``atom '%'*``, where a ``%`` is a percent sign if no operand follows it."""
        value = self.atom()
        while self.kind == "sign" and self.text == "%":
            after = self.tokens[self.at + 1]
            if after.kind not in ("end", "sign") or after.text == "(":
                break
            if after.text in ("+", "-"):
                raise ValueError(
                    f"'%' before {after.text!r} at character {after.at} can mean two things: "
                    "write (5%) + 1 for percent or mod(5, -1) for the remainder"
                )
            self.at += 1
            value = compute(operator.truediv, value, Fraction(100))
        return value

    def atom(self) -> Number:
        """``number | constant | function '(' sum (',' sum)* ')' | '(' sum ')'``."""
        token = self.tokens[self.at]
        if self.take("("):
            value = self.sum()
            if not self.take(")"):
                raise self.unexpected()
            return value
        self.at += 1
        match token.kind:
            case "number":
                return _number(token)
            case "hex":
                return Fraction(int(token.text, 0))
            case "name" if self.take("("):
                return self._called(token)
            case "name" if token.text in CONSTANTS:
                return CONSTANTS[token.text]
            case "name":
                what = "is a function: write its arguments in parentheses" if token.text in FUNCTIONS else "is unknown"
                raise ValueError(f"{token.text!r} at character {token.at} {what}; constants: {', '.join(CONSTANTS)}")
        self.at -= 1
        raise self.unexpected()

    def _called(self, token: _Token) -> Number:
        if token.text not in FUNCTIONS:
            raise ValueError(f"there is no function {token.text!r}; known: {', '.join(sorted(FUNCTIONS))}")
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        if not self.take(")"):
            raise self.unexpected()
        return apply(token.text, arguments)


def _number(token: _Token) -> Fraction:
    """A decimal literal as the exact fraction that it writes."""
    text = token.text.replace("_", "")
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > 1 and digits.startswith("0") and digits[1] != ".":
        raise ValueError(f"{token.text!r} at character {token.at} starts with 0; write numbers without leading zeros")
    if exponent and abs(int(exponent)) > MAX_DIGITS:
        raise ValueError(f"{token.text!r} at character {token.at} has an exponent larger than {MAX_DIGITS}")
    return Fraction(text)

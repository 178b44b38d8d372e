"""The calculator tool: exact, bounded and without eval."""

from __future__ import annotations

import contextlib
import operator
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Gate, ToolCall
from agentrt_tools.calculator import MAX_CHARS, calculate, evaluate, show


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("2**64", "18446744073709551616"),
        ("-2**2", "-4"),
        ("2**3**2", "512"),
        ("2^-3", "0.125"),
        ("1/3*3", "1"),
        ("1/3", "0.33333333333333333333 (rounded; exactly 1/3)"),
        ("200 * 15%", "30"),
        ("10 / 50%", "20"),
        ("(1 + 5%) * 100", "105"),
        ("10 % 3", "1"),
        ("-7 % 3", "2"),
        ("7 // 2", "3"),
        ("1.5 // 0.4", "3"),
        ("3 \u00d7 4 \u00f7 2 \u2212 1", "5"),
        ("1_000 * 0xff", "255000"),
        ("sqrt(1/4)", "0.5"),
        ("sqrt(10**200)", "1" + "0" * 100),
        ("4 ** 0.5", "2"),
        ("sqrt(2)", "1.4142135623731"),
        ("8 ** (1/3)", "2"),
        ("sin(pi)", "0"),
        ("log(1000, 10)", "3"),
        ("log10(10**400)", "400"),
        ("ln(e)", "1"),
        ("round(2.675, 2)", "2.68"),
        ("round(1234, -2)", "1200"),
        ("mean(1, 2, 6)", "3"),
        ("max(1, 2, 3) - min(4, 5)", "-1"),
        ("abs(-3.5) + sign(-2)", "2.5"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("factorial(20) / comb(20, 10)", "13168189440000"),
        ("perm(5, 2)", "20"),
        ("hypot(3, 4)", "5"),
        ("floor(-0.5) + ceil(0.5) + trunc(-0.9)", "0"),
        ("mod(5, -3)", "-1"),
        ("1e-30", "1E-30"),
        ("1e3", "1000"),
        ("(-1) ** (10**3000)", "1"),
        ("0 ** 0", "1"),
    ],
)
def test_expressions_have_their_exact_value(expression, value):
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "ends too early"),
        ("1 +", "ends too early"),
        ("(1 + 2", "ends too early"),
        ("1 + 2)", "unexpected ')' at character 6"),
        ("2(3)", "write products with *"),
        ("2 pi", "write products with *"),
        ("1,000", "without thousands separators"),
        ("max(1,000)", "without leading zeros"),
        ("5% - 3", "can mean two things"),
        ("1/0", "division by zero"),
        ("5 % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("mod(1, 0)", "division by zero"),
        ("log(-1)", "no real value"),
        ("asin(2)", "no real value"),
        ("(-8) ** (1/3)", "no real power"),
        ("factorial(2.5)", "whole numbers"),
        ("atan2(1)", "takes 2 arguments, got 1"),
        ("foo(1)", "there is no function 'foo'; known: abs,"),
        ("foo", "constants: pi"),
        ("sqrt", "is a function"),
        ("__import__('os')", "not part of an expression"),
        ("x.__class__", "not part of an expression"),
        ("1; 2", "not part of an expression"),
        ("'a'", "not part of an expression"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(expression, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        calculate(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "10**10**10",
        "9**9**9**9**9",
        "2**-(10**10)",
        "(1/3)**(10**9)",
        "2**" * 300 + "2",
        "1e999999999",
        "1e-999999999",
        "1e4000 * 1e4000",
        "factorial(10**9)",
        "factorial(factorial(20))",
        "comb(10**300, 10**299)",
        "perm(10**18, 10**17)",
        "lcm(2**9000 + 1, 3**5000)",
        "sum(" + ",".join(f"1/(2**12000+{n})" for n in range(90)) + ")",
        "round(1/3, 10**9)",
        "exp(10**4)",
        "exp(10**400)",
        "cosh(10**5)",
        "(" * 900 + "1" + ")" * 900,
        "sqrt(" * 300 + "1" + ")" * 300,
        "1" * (MAX_CHARS + 1),
        "1+" * 500_000 + "1",
        "(" * 1_000_000,
    ],
)
def test_hostile_expressions_are_refused(expression):
    with pytest.raises(ValueError, match="digits|deeper|characters|larger than"):
        calculate(expression)


def test_the_costliest_expressions_within_the_bounds_come_to_an_end():
    signs = "-" * (MAX_CHARS - 1) + "1"
    assert calculate(signs) == "-1"
    heavy = "+".join(["(2**6000+1)/(3**3800+2)"] * 2 + ["1/7**200"] * 50)
    assert isinstance(evaluate(heavy), Fraction)
    assert len(calculate("2**13000")) == 3914
    assert calculate("2**-13000").endswith("(rounded)")


def test_the_gate_refuses_a_megabyte_of_expression():
    gate = Gate([calculate.spec()])
    verdict = gate.check(ToolCall("c", "calculate", '{"expression": "' + "1+" * 500_000 + '1"}'))
    assert "maxLength" in verdict.reason
    assert len(verdict.reason) < 1000
    assert calculate.spec().read_only


def literals() -> st.SearchStrategy[tuple[str, Fraction]]:
    """A decimal literal as text, and its exact value."""
    decimals = st.decimals(min_value=0, max_value=10**9, places=4, allow_nan=False).map(lambda d: f"{d:f}")
    texts = st.one_of(st.integers(0, 10**12).map(str), decimals)
    return texts.map(lambda text: (text, Fraction(text)))


def combined(inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
        st.tuples(inner, st.just("**"), st.integers(-3, 4)),
        st.tuples(st.just("-"), inner),
    )


def written(tree) -> str:
    match tree:
        case (str() as text, Fraction()):
            return text
        case ("-", inner):
            return f"(-{written(inner)})"
        case (left, "**", int(exponent)):
            return f"({written(left)} ** {exponent})"
        case (left, sign, right):
            return f"({written(left)} {sign} {written(right)})"
    raise AssertionError(tree)


SIGNS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def meant(tree) -> Fraction:
    match tree:
        case (str(), Fraction() as value):
            return value
        case ("-", inner):
            return -meant(inner)
        case (left, "**", int(exponent)):
            return meant(left) ** exponent
        case (left, sign, right):
            a, b = meant(left), meant(right)
            return Fraction(SIGNS[sign](a, b))
    raise AssertionError(tree)


@given(st.recursive(literals(), combined, max_leaves=12))
def test_arithmetic_agrees_with_fractions(tree):
    try:
        value = meant(tree)
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="division by zero"):
            evaluate(written(tree))
        return
    assert evaluate(written(tree)) == value


@given(st.fractions(max_denominator=10**6))
def test_what_is_shown_says_the_value(value):
    text = show(value)
    if exactly := re.search(r"exactly (\S+)\)", text):
        assert Fraction(exactly.group(1)) == value
        shown = Fraction(text.split()[0])
        assert abs(shown - value) <= abs(value) * Fraction(1, 10**18)
    else:
        assert Fraction(text) == value


def told(expression: str) -> None:
    """The calculator answers, or refuses with a ValueError; nothing else comes out of it."""
    with contextlib.suppress(ValueError):
        assert calculate(expression)


@given(st.text(max_size=200))
def test_any_text_gives_a_value_or_a_reason(text):
    told(text)


@given(st.lists(st.sampled_from([*"0123456789.+-*/%^(),e ", "**", "//", "sqrt(", "round(", "pi", "1e9"]), max_size=60))
def test_any_soup_of_tokens_gives_a_value_or_a_reason(tokens):
    told("".join(tokens))

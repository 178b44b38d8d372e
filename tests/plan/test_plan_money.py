"""The money: the figures that people quote, and the arithmetic around them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import ConfigError
from agentrt.plan import gpus
from agentrt.plan.money import (
    QUOTED_PRICE_PER_KWH,
    ApiPrice,
    Basis,
    Usage,
    break_even_months,
    listed_price,
    seats,
    usage,
    whole_server,
)
from agentrt.plan.planner import Request, make_plan
from agentrt.plan.quotes import quotes, reference
from agentrt.plan.sizing import Work

QUOTED = Basis("GPUs only", 25_000, 700, kwh=QUOTED_PRICE_PER_KWH)


def test_the_figures_that_people_quote_are_reproduced():
    quoted = reference()
    assert quoted.h100_price == 25_000
    assert quoted.h100_watts == 700
    assert round(quoted.power_month) == 90
    assert round(quoted.power_year) == 1_080
    assert quoted.seat_year == 2_400
    assert round(quoted.k2_parameters / 1e12, 1) == 1.0
    assert (quoted.k2_experts, quoted.k2_experts_active) == (384, 8)
    assert round(quoted.k2_active / 1e9) == 32


def test_where_they_mislead_is_said_in_numbers():
    quoted = reference()
    assert quoted.k2_fp8_bytes == pytest.approx(1.03e12, rel=0.01)
    assert quoted.k2_int4_bytes == pytest.approx(594e9, rel=0.01)
    assert quoted.k2_fp8_h100s == 16
    assert quoted.k2_int4_h200s == 8
    assert quoted.small_moe_h100s == 1
    said = " ".join(f"{quote.claim} {quote.computed} {quote.misleads}" for quote in quotes())
    for words in ("$25,000", "0.7 kW", "$90 a month", "$1,080 a year", "$2,400", "1T parameters", "384 experts",
                  "8 active", "32B active", "1.03 TB", "594 GB", "16 H100s", "8 H200s", "30B-A3B", "22 months",
                  "13 months"):  # fmt: skip
        assert words in said


def test_sixteen_h100s_pay_for_a_hundred_seats_in_22_months_and_for_eight_in_centuries():
    capital, power = QUOTED.capital(16), QUOTED.power(16)
    assert capital == 400_000
    assert round(power) == 1_440
    assert break_even_months(capital, power, 100 * 200) == pytest.approx(21.6, abs=0.1)
    assert break_even_months(capital, power, 8 * 200) > 12 * 200
    assert break_even_months(capital, power, 7 * 200) is None
    assert break_even_months(QUOTED.capital(1), QUOTED.power(1), 10 * 200) == pytest.approx(13.1, abs=0.1)


def test_a_whole_server_costs_more_in_every_way():
    server = whole_server(QUOTED)
    assert server.capital(8) == pytest.approx(310_000)
    assert server.power(8) == pytest.approx(10.2 * 1.58 * 730.5 * QUOTED_PRICE_PER_KWH)
    assert server.gpu_second() > QUOTED.gpu_second()


@given(st.integers(1, 10**7), st.integers(0, 10**5), st.integers(0, 10**6))
def test_after_the_break_even_as_much_was_saved_as_was_paid(capital, running, alternative):
    months = break_even_months(capital, running, alternative)
    if months is None:
        assert alternative <= running
    else:
        assert months * (alternative - running) == pytest.approx(capital)


def test_a_gpu_second_is_a_months_cost_over_its_seconds():
    assert QUOTED.gpu_second() * 730.5 * 3600 == pytest.approx(25_000 / 36 + QUOTED.power(1))


def test_usage_counts_turns_by_their_time_and_their_wait():
    used = usage(
        sessions=2, hours=100, turn_seconds=10, tool_wait=0.5, turn_input=1000, turn_output=200, context=40_000
    )
    assert used == Usage(turns=36_000, new_tokens=36e6, cached_tokens=36_000 * 19_000, output_tokens=7.2e6)
    assert ApiPrice(1, 4, 0.1, "test").month(used) == pytest.approx(36 + 68.4 + 28.8)


@pytest.mark.parametrize("price", [0, -5, float("nan"), float("inf")])
def test_a_seat_has_a_price(price):
    with pytest.raises(ConfigError, match="--seat"):
        seats([price])


def test_prices_come_from_genai_prices_where_it_is_installed(monkeypatch):
    def calc_price(used, model, *, provider_id):
        if model != "kimi-k2.6":
            raise LookupError(model)
        assert provider_id == "moonshotai"
        fresh = used.get("input_tokens", 0) - used.get("cache_read_tokens", 0)
        dollars = fresh * 0.95 + used.get("cache_read_tokens", 0) * 0.16 + used.get("output_tokens", 0) * 4
        return SimpleNamespace(total_price=dollars / 1e6)

    monkeypatch.setitem(sys.modules, "genai_prices", SimpleNamespace(calc_price=calc_price, Usage=dict))
    price = listed_price(("moonshotai", "kimi-k2.6"))
    assert (price.input, price.output, price.cached) == pytest.approx((0.95, 4, 0.16))
    assert "genai-prices" in price.source
    assert listed_price(("moonshotai", "kimi-k1")) is None
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert listed_price(("moonshotai", "kimi-k2.6")) is None
    assert listed_price(None) is None


def plan(**more):
    more.setdefault("api", ApiPrice(0.95, 4, 0.16, "test"))
    return make_plan(Request(**{"model": "qwen3.6-35b-a3b", "quant": "fp8", **more}))


def test_a_plan_is_cheaper_a_token_the_fuller_it_runs():
    made = plan()
    for cost in made.costs:
        assert cost.per_million_output_full < cost.per_million_output
        assert cost.total_month == pytest.approx(cost.capital / 36 + cost.power_month)
        assert cost.gpu_second * made.choice.gpus * 730.5 * 3600 == pytest.approx(cost.total_month)
        output = made.used.output_tokens * 10
        assert cost.per_million_output == pytest.approx(cost.total_month / output * 1e6)
    assert made.costs[0].total_month < made.costs[1].total_month


def test_alternatives_are_every_seat_and_the_api():
    made = plan(seats=(20.0, 200.0))
    assert [one.name for one in made.alternatives] == ["$20 a month a seat", "$200 a month a seat", "API"]
    months = {one.name: found for one, found in made.costs[0].break_even}
    assert months["$20 a month a seat"] > months["$200 a month a seat"] == pytest.approx(13.1, abs=0.1)


def test_a_session_costs_its_share_of_the_month():
    made = plan()
    sessions = made.used.turns * 10 / made.request.work.turns_per_session
    assert made.costs[0].per_session * sessions == pytest.approx(made.costs[0].total_month)


def test_the_curve_buys_more_gpus_for_larger_teams():
    made = plan(curve_to=60)
    assert [point.developers for point in made.curve] == list(range(1, 61))
    counts = [point.gpus for point in made.curve]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    at_ten = made.curve[9]
    assert at_ten.gpus == made.needed.gpus
    assert at_ten.months[0] == tuple(cost.break_even[0][1] for cost in made.costs)
    assert all(dear is None or dear > cheap for point in made.curve for cheap, dear in point.months)


def test_the_users_own_hardware_prices_count():
    mine = plan(gpu_price=10_000.0, gpu_watts=300.0, kwh=0.3, pue=1.2, years=5.0)
    assert mine.costs[0].capital == 10_000
    assert mine.costs[0].power_month == pytest.approx(0.3 * 1.2 * 730.5 * 0.3)
    assert mine.costs[0].total_month == pytest.approx(10_000 / 60 + mine.costs[0].power_month)
    assert gpus.parse("H100")[0].price == 25_000


@pytest.mark.parametrize(
    ("change", "words"),
    [({"pue": 0.5}, "--pue"), ({"years": 0.0}, "--years"), ({"kwh": -1.0}, "--kwh"), ({"hours": 0.0}, "--hours"),
     ({"gpu_price": -1.0}, "--gpu-price"), ({"runtime_gb": float("nan")}, "--runtime-gb"),
     ({"kv_dtype": "int8"}, "--kv-dtype"), ({"utilisation": 2.0}, "--utilisation"),
     ({"model": "gpt-9"}, "unknown model"), ({"gpu": "TPU"}, "unknown GPU")],
)  # fmt: skip
def test_an_impossible_request_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        plan(**change)


def test_a_named_number_that_is_too_small_is_said_and_the_needed_number_planned():
    small = make_plan(Request("kimi-k2.6", "8xH100"))
    assert (small.asked_gpus, small.asked_fits, small.asked_meets) == (8, False, False)
    assert small.choice.gpus == small.needed.gpus == 16
    slow = make_plan(Request("qwen3.6-35b-a3b", "1xH100", "fp8", Work(developers=100)))
    assert (slow.asked_fits, slow.asked_meets, slow.choice.gpus) == (True, False, 1)
    assert slow.needed.gpus > 1

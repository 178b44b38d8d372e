"""What a plan costs, and when it has paid for itself against subscriptions and against an API."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from agentrt.errors import ConfigError

HOURS_PER_MONTH = 8766 / 12
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600

QUOTED_PRICE_PER_KWH = 0.176
"""Dollars a kilowatt-hour that make 0.7 kW cost the $90 a month that people quote, day and night."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What is counted as cost.

    ``price`` and ``watts`` are of one GPU; ``price_factor`` and ``watts_factor`` make a whole server of them.
    """

    name: str
    price: float
    watts: float
    price_factor: float = 1.0
    watts_factor: float = 1.0
    pue: float = 1.0
    kwh: float = QUOTED_PRICE_PER_KWH
    years: float = 3.0

    def capital(self, gpus: int) -> float:
        """Dollars to buy them."""
        return gpus * self.price * self.price_factor

    def power(self, gpus: int) -> float:
        """Dollars a month for electricity at full draw, day and night: an upper bound."""
        kilowatts = gpus * self.watts * self.watts_factor / 1000
        return kilowatts * self.pue * HOURS_PER_MONTH * self.kwh

    def monthly(self, gpus: int) -> float:
        """Dollars a month with the purchase spread over its years."""
        return self.capital(gpus) / (self.years * 12) + self.power(gpus)

    def gpu_second(self) -> float:
        """Dollars for one second of one GPU."""
        return self.monthly(1) / SECONDS_PER_MONTH


def whole_server(gpu_only: Basis) -> Basis:
    """The same with the server around the GPUs and the cooling.

    The factors are from public figures for eight H100s: $310,000 a node (2024) against 8 x $25,000; 10.2 kW at most
    (DGX H100) against 8 x 0.7 kW; a mean PUE of 1.58 (Uptime Institute, 2023). They are estimates for other GPUs.
    """
    pue = max(gpu_only.pue, 1.58)
    return replace(gpu_only, name="whole server", price_factor=1.55, watts_factor=10.2 / 5.6, pue=pue)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one developer has the model do in a month."""

    turns: float
    new_tokens: float
    cached_tokens: float
    output_tokens: float


def usage(
    *, sessions: float, hours: float, turn_seconds: float, tool_wait: float,
    turn_input: int, turn_output: int, context: int,
) -> Usage:  # fmt: skip
    """``sessions`` open for ``hours`` a month, each a turn and its wait at a time, with half a context on average."""
    cycle = turn_seconds / (1 - tool_wait)
    turns = sessions * hours * 3600 / cycle
    before = max(0.0, context / 2 - turn_input)
    return Usage(turns, turns * turn_input, turns * before, turns * turn_output)


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """Dollars per million tokens, and where the price is from."""

    input: float
    output: float
    cached: float
    source: str

    def month(self, used: Usage) -> float:
        """Dollars for a month of this use."""
        million = 1e6
        fresh = used.new_tokens * self.input / million
        return fresh + used.cached_tokens * self.cached / million + used.output_tokens * self.output / million


def listed_price(api: tuple[str, str] | None) -> ApiPrice | None:
    """The price that the ``genai-prices`` package lists for (provider, model); None without either."""
    if api is None:
        return None
    try:
        prices = importlib.import_module("genai_prices")
    except ImportError:
        return None
    provider, model = api
    try:
        parts = [
            float(prices.calc_price(prices.Usage(**used), model, provider_id=provider).total_price)
            for used in (
                {"input_tokens": 1_000_000},
                {"output_tokens": 1_000_000},
                {"input_tokens": 1_000_000, "cache_read_tokens": 1_000_000},
            )
        ]
    except LookupError:
        return None
    return ApiPrice(parts[0], parts[1], parts[2], f"genai-prices: {provider} {model}")


def break_even_months(capital: float, running: float, alternative: float) -> float | None:
    """Months until what is saved each month has paid the purchase; None if nothing is saved."""
    saved = alternative - running
    months = capital / saved if saved > 0 else math.inf
    return months if math.isfinite(months) else None


@dataclass(frozen=True, slots=True)
class Alternative:
    """What the team would pay instead, in dollars per developer and month."""

    name: str
    per_developer: float

    def monthly(self, developers: int) -> float:
        """Dollars a month for the team."""
        return self.per_developer * developers


def seats(prices: Iterable[float]) -> list[Alternative]:
    """A subscription for each price.

    :raises ConfigError: if a price is not positive.
    """
    found = []
    for price in prices:
        if not (price > 0 and math.isfinite(price)):
            raise ConfigError(f"--seat is a monthly price in dollars, more than 0, not {price!r}")
        found.append(Alternative(f"${price:,.0f} a month a seat", price))
    return found

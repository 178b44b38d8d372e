"""The simulated world: eight tools over a state that is drawn from a seed, for training, servers and tests alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SKIES = ("clear", "cloudy", "rain", "snow", "fog", "windy")
CURRENCIES = {
    "EUR": 1.0, "USD": 1.08, "GBP": 0.85, "JPY": 163.0, "CHF": 0.96, "SEK": 11.4, "TRY": 45.2, "INR": 97.5,
}  # fmt: skip
UNITS = {
    "miles": ("length", 1.609344), "km": ("length", 1.0), "feet": ("length", 0.0003048),
    "kg": ("mass", 1.0), "pounds": ("mass", 0.45359237), "grams": ("mass", 0.001),
    "liters": ("volume", 1.0), "gallons": ("volume", 3.785411784),
    "celsius": ("heat", 1.0), "fahrenheit": ("heat", 1.0),
}  # fmt: skip
CITIES = (
    "Oslo", "Paris", "Tokyo", "Lima", "Cairo", "Rome", "Berlin", "Madrid", "Delhi", "Boston", "Izmir", "Ankara",
    "Vienna", "Prague", "Dublin", "Lisbon", "Athens", "Nairobi", "Seoul", "Quito", "Hanoi", "Dakar", "Riga", "Turin",
    "Basel", "Kyoto", "Miami", "Porto", "Accra", "Sofia",
)  # fmt: skip
PEOPLE = (
    "Ada", "Bob", "Cem", "Dora", "Emma", "Finn", "Gita", "Hugo", "Ines", "Jan", "Kaya", "Leo", "Mia", "Nils", "Olga",
    "Pia", "Quinn", "Rosa", "Sam", "Tara", "Ugur", "Vera", "Wim", "Yara", "Zoe", "Lars", "Noor", "Omar", "Nina", "Karl",
)  # fmt: skip
AIRLINES = ("TK", "LH", "BA", "AF", "SK", "KL", "UA", "QF")
TITLES = (
    "Dentist", "Yoga", "Lunch", "Standup", "Review", "Haircut", "Concert", "Meeting", "Dinner", "Gym", "Interview",
    "Exam", "Chess", "Party",
)  # fmt: skip


class ToolError(Exception):
    """What the tool can't do, in words that the model reads."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as its server lists it; ``read_only`` is a promise about effects."""

    server: str
    name: str
    description: str
    schema: Mapping[str, Any]
    read_only: bool

    @property
    def declaration(self) -> dict[str, Any]:
        """The tool in the form that chat templates declare."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.schema)}
        return {"type": "function", "function": function}


def _schema(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_NUMBER = {"type": "number"}
_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$"}
_UNIT = {"type": "string", "enum": list(UNITS)}
_DAY = {"type": "string", "enum": list(DAYS)}
_TIME = {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"}
_PHONE = {"type": "string", "pattern": "^[0-9]{4}$"}
_FLIGHT = {"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,4}$"}

TOOLS = (
    Tool("calendar", "add_event", "Add an event.", _schema(title=_TEXT, day=_DAY, time=_TIME), read_only=False),
    Tool(
        "money",
        "convert_currency",
        "Convert money.",
        _schema(amount=_NUMBER, source=_CURRENCY, target=_CURRENCY),
        read_only=True,
    ),
    Tool("units", "convert_unit", "Convert units.", _schema(value=_NUMBER, source=_UNIT, target=_UNIT), read_only=True),
    Tool("people", "find_phone", "Find the phone of a person.", _schema(person=_TEXT), read_only=True),
    Tool("travel", "flight_status", "Tell when and where a flight lands.", _schema(flight=_FLIGHT), read_only=True),
    Tool("weather", "get_weather", "Tell the weather in a city.", _schema(city=_TEXT), read_only=True),
    Tool("calendar", "list_events", "List the events of a day.", _schema(day=_DAY), read_only=True),
    Tool("people", "send_message", "Send a message to a phone.", _schema(phone=_PHONE, text=_TEXT), read_only=False),
)  # by name
SERVERS = tuple(sorted({tool.server for tool in TOOLS}))


def plain(value: float) -> int | float:
    """``value`` with at most one decimal, and none where it is whole: JSON writes it as people do."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


class World:
    """The state behind the tools: what is not there yet is drawn from ``seed`` and its own key, so order is free."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sent: list[tuple[str, str]] = []
        self.added: dict[str, list[str]] = {day: [] for day in DAYS}
        self._tools: dict[str, Callable[..., dict[str, Any]]] = {tool.name: getattr(self, tool.name) for tool in TOOLS}

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run a tool; return its result in words.

        :raises ToolError: if the tool can't do it.
        """
        return in_words(name, arguments, self.run(name, arguments))

    def run(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run a tool; return its result as values.

        :raises ToolError: if the tool can't do it.
        """
        return self._tools[name](**arguments)

    def _drawn(self, kind: str, key: str) -> random.Random:
        return random.Random(f"{self.seed}/{kind}/{key}")

    def get_weather(self, city: str) -> dict[str, Any]:
        """The sky and the temperature of any place."""
        drawn = self._drawn("weather", city)
        return {"sky": drawn.choice(SKIES), "celsius": drawn.randint(-9, 39)}

    def convert_currency(self, amount: float, source: str, target: str) -> dict[str, Any]:
        """``amount`` at a fixed rate."""
        for code in (source, target):
            if code not in CURRENCIES:
                raise ToolError(f"no rate for {code}")
        return {"amount": plain(amount / CURRENCIES[source] * CURRENCIES[target])}

    def convert_unit(self, value: float, source: str, target: str) -> dict[str, Any]:
        """``value`` in another unit of the same kind."""
        (kind, size), (other, target_size) = UNITS[source], UNITS[target]
        if kind != other:
            raise ToolError(f"{source} can not become {target}")
        if kind == "heat":
            celsius = (value - 32) / 1.8 if source == "fahrenheit" else value
            return {"value": plain(celsius * 1.8 + 32 if target == "fahrenheit" else celsius)}
        return {"value": plain(value * size / target_size)}

    def add_event(self, title: str, day: str, time: str) -> dict[str, Any]:
        """Put an event on the calendar."""
        self.added[day].append(f"{time} {title}")
        return {"added": True}

    def list_events(self, day: str) -> dict[str, Any]:
        """What was drawn for the day and what was added, by time."""
        drawn = self._drawn("calendar", day)
        events = [f"{drawn.randint(8, 21):02}:{drawn.choice((0, 30)):02} {drawn.choice(TITLES)}"]
        events = events[: drawn.randint(0, 1)] + self.added[day]
        return {"events": sorted(events)}

    def find_phone(self, person: str) -> dict[str, Any]:
        """The number of a person; one in eight is not in the book."""
        drawn = self._drawn("phone", person)
        number = f"{drawn.randint(2000, 9999)}"
        if drawn.random() < 1 / 8:
            raise ToolError(f"nobody is called {person}")
        return {"phone": number}

    def send_message(self, phone: str, text: str) -> dict[str, Any]:
        """Send ``text``; it is kept in ``sent``."""
        self.sent.append((phone, text))
        return {"sent": True}

    def flight_status(self, flight: str) -> dict[str, Any]:
        """Where and when the flight lands."""
        drawn = self._drawn("flight", flight)
        return {"city": drawn.choice(CITIES), "lands": f"{drawn.randint(0, 23):02}:{drawn.choice((0, 15, 30, 45)):02}"}


def in_words(name: str, arguments: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The result of a call as the model reads it."""
    match name:
        case "get_weather":
            return f"{found['sky']}, {found['celsius']} celsius"
        case "convert_currency":
            return f"{found['amount']} {arguments['target']}"
        case "convert_unit":
            return f"{found['value']} {arguments['target']}"
        case "list_events":
            return ", ".join(found["events"]) or "nothing"
        case "find_phone":
            return str(found["phone"])
        case "flight_status":
            return f"lands in {found['city']} at {found['lands']}"
    return "done"


_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "kr", "st", "tr")
_ENDS = ("a", "e", "i", "o", "u", "an", "en", "in", "or", "us", "ai")


def made_up_name(rng: random.Random) -> str:
    """A name that nobody has heard, so that it can only be copied."""
    syllables = rng.choice((2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_ENDS) for _ in range(syllables)).capitalize()

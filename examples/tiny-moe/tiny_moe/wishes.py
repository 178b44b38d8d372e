"""What a user asks for that needs one call, and several such things asked at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tiny_moe.play import Call, Play, Turn
from tiny_moe.world import DAYS


@dataclass(frozen=True, slots=True)
class Part:
    """A request that one call answers: what the user says, the call, and how its result is put into words."""

    kind: str
    request: str
    call: Call
    words: Callable[[dict[str, Any]], str]
    memory: dict[str, Any] = field(default_factory=dict)


def weather(play: Play) -> Part:
    """Ask for the weather."""
    city = play.city()
    request = play.one("What is the weather in {}", "How is the weather in {}", "Tell me the weather in {}")
    return Part(
        "weather",
        request.format(city),
        ("get_weather", {"city": city}),
        lambda found: f"{city}: {found['sky']}, {found['celsius']} celsius.",
        {"weather": city},
    )


def money(play: Play) -> Part:
    """Ask for an amount in another currency."""
    amount, (source, target) = play.amount(), play.pair()
    request = play.one("Convert {} {} to {}", "How much is {} {} in {}", "What is {} {} in {}")
    return Part(
        "money",
        request.format(amount, source, target),
        ("convert_currency", {"amount": amount, "source": source, "target": target}),
        lambda found: f"{amount} {source} is {found['amount']} {target}.",
        {"money": (amount, source, target)},
    )


def unit(play: Play) -> Part:
    """Ask for a value in another unit."""
    value, (source, target) = play.amount(), play.units()
    request = play.one("Convert {} {} to {}", "How many {2} are {0} {1}", "What is {} {} in {}")
    return Part(
        "unit",
        request.format(value, source, target),
        ("convert_unit", {"value": value, "source": source, "target": target}),
        lambda found: f"{value} {source} is {found['value']} {target}.",
    )


def event(play: Play) -> Part:
    """Ask to put something on the calendar."""
    title, day, time = play.title(), play.rng.choice(DAYS), play.time()
    request = play.one("Add {} on {} at {}", "Put {} on my calendar on {} at {}", "I have {} on {} at {}, note it")
    return Part(
        "event",
        request.format(title, day, time),
        ("add_event", {"title": title, "day": day, "time": time}),
        lambda found: f"{title} is on your calendar, {day} at {time}.",
    )


def agenda(play: Play) -> Part:
    """Ask what is on a day."""
    day = play.rng.choice(DAYS)
    request = play.one("What is on {}", "What do I have on {}", "List my {} events", "Am I free on {}")
    return Part(
        "agenda",
        request.format(day),
        ("list_events", {"day": day}),
        lambda found: f"On {day}: {', '.join(found['events']) or 'nothing'}.",
    )


def phone(play: Play) -> Part:
    """Ask for somebody's number, who may not be in the book."""
    person = play.person()
    request = play.one("What is the phone number of {}", "Find the phone of {}", "How can I call {}")
    return Part(
        "phone",
        request.format(person),
        ("find_phone", {"person": person}),
        lambda found: f"{person}: {found['phone']}." if "phone" in found else f"Sorry, nobody is called {person}.",
        {"person": person},
    )


def text(play: Play) -> Part:
    """Ask to send a message to a number."""
    number, message = str(play.rng.randint(2000, 9999)), play.message()
    request = play.one('Send "{1}" to {0}', 'Text {} "{}"', 'Write "{1}" to the number {0}')
    return Part(
        "text",
        request.format(number, message),
        ("send_message", {"phone": number, "text": message}),
        lambda found: f'I sent "{message}" to {number}.',
    )


def flight(play: Play) -> Part:
    """Ask when a flight lands."""
    code = play.flight()
    request = play.one("When does {} land", "What is the status of flight {}", "Where does flight {} land")
    return Part(
        "flight",
        request.format(code),
        ("flight_status", {"flight": code}),
        lambda found: f"{code} lands in {found['city']} at {found['lands']}.",
        {"flight": code},
    )


PARTS = (weather, money, unit, event, agenda, phone, text, flight)


def single(play: Play) -> Turn:
    """One call and its answer."""
    part = play.rng.choice(PARTS)(play)
    (found,) = play.call(part.call)
    play.memory.clear()
    if "error" not in found:
        play.memory.update(part.memory)
    return play.turn(part.kind, part.request + play.one("?", ".", ""), part.words(found))


# --- parallel calls -------------------------------------------------------------------------------------------


def parallel(play: Play) -> Turn:
    """Two different requests in one sentence, or one for two or three things, called in one round."""
    if play.rng.random() < 0.5:
        first, second = (part(play) for part in play.rng.sample(PARTS, 2))
        request = f"{first.request} and {second.request[0].lower()}{second.request[1:]}"
        found = play.call(first.call, second.call)
        return play.turn("parallel", request + play.one("?", ""), f"{first.words(found[0])} {second.words(found[1])}")
    return same_tool(play)


def same_tool(play: Play) -> Turn:
    """One tool for two or three things at once."""
    count = play.rng.choice((2, 2, 3))
    make = play.rng.choice((weather, phone, flight))
    parts = [make(play) for _ in range(count)]
    names = [next(iter(part.call[1].values())) for part in parts]
    if len(set(names)) < count:
        return same_tool(play)
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    found = play.call(*(part.call for part in parts))
    request = {
        "weather": play.one("What is the weather in {}", "Tell me the weather in {}"),
        "phone": play.one("Find the phones of {}", "What are the phone numbers of {}"),
        "flight": play.one("When do {} land", "What is the status of flights {}"),
    }[parts[0].kind]
    answer = " ".join(part.words(one) for part, one in zip(parts, found, strict=True))
    return play.turn("parallel", request.format(listed) + play.one("?", ""), answer)

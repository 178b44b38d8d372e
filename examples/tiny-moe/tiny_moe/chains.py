"""What a user asks for that needs one call after another, each with what the one before returned."""

from __future__ import annotations

from tiny_moe.play import Play, Turn
from tiny_moe.world import CURRENCIES, DAYS, PEOPLE, SKIES, TITLES


def fahrenheit(play: Play) -> Turn:
    """Weather, then its temperature in fahrenheit."""
    city = play.city()
    request = play.one("What is the temperature in {} in fahrenheit?", "How many fahrenheit is it in {}?")
    (found,) = play.call(("get_weather", {"city": city}))
    celsius = found["celsius"]
    (turned,) = play.call(("convert_unit", {"value": celsius, "source": "celsius", "target": "fahrenheit"}))
    return play.turn("fahrenheit", request.format(city), f"It is {turned['value']} fahrenheit in {city}.")


def two_rates(play: Play) -> Turn:
    """An amount by way of a second currency."""
    amount, (first, second, third) = play.amount(), play.rng.sample(list(CURRENCIES), 3)
    request = play.one("Convert {} {} to {} and the result to {}.", "Change {} {} to {} and then that to {}.")
    (found,) = play.call(("convert_currency", {"amount": amount, "source": first, "target": second}))
    middle = found["amount"]
    (last,) = play.call(("convert_currency", {"amount": middle, "source": second, "target": third}))
    answer = f"{amount} {first} is {middle} {second}, that is {last['amount']} {third}."
    return play.turn("two_rates", request.format(amount, first, second, third), answer)


def landing_weather(play: Play) -> Turn:
    """A flight, then the weather where it lands."""
    code = play.flight()
    request = play.one("What is the weather where {} lands?", "How is the weather where flight {} lands?")
    (landing,) = play.call(("flight_status", {"flight": code}))
    (found,) = play.call(("get_weather", {"city": landing["city"]}))
    answer = f"{code} lands in {landing['city']}: {found['sky']}, {found['celsius']} celsius."
    return play.turn("landing_weather", request.format(code), answer)


def landing_fahrenheit(play: Play) -> Turn:
    """A flight, the weather where it lands, and that in fahrenheit: three rounds."""
    code = play.flight()
    request = play.one("How many fahrenheit is it where {} lands?", "What is it in fahrenheit where flight {} lands?")
    (landing,) = play.call(("flight_status", {"flight": code}))
    (found,) = play.call(("get_weather", {"city": landing["city"]}))
    celsius = found["celsius"]
    (turned,) = play.call(("convert_unit", {"value": celsius, "source": "celsius", "target": "fahrenheit"}))
    return play.turn(
        "landing_fahrenheit", request.format(code), f"It is {turned['value']} fahrenheit in {landing['city']}."
    )


def pick_up(play: Play) -> Turn:
    """A flight, then its landing on the calendar."""
    code, day = play.flight(), play.rng.choice(DAYS)
    request = play.one("Put the landing of {} on my calendar on {}.", "Add the landing of flight {} on {}.")
    (landing,) = play.call(("flight_status", {"flight": code}))
    time = landing["lands"]
    play.call(("add_event", {"title": f"Landing {code}", "day": day, "time": time}))
    return play.turn("pick_up", request.format(code, day), f"Landing {code} is on your calendar, {day} at {time}.")


def text_person(play: Play) -> Turn:
    """A number, then a message to it; nothing is sent to somebody who is not in the book."""
    person, message = play.person(), play.message()
    request = play.one('Tell {} "{}".', 'Text {} "{}".', 'Send "{1}" to {0}.')
    request = request.format(person, message)
    (found,) = play.call(("find_phone", {"person": person}))
    if "phone" not in found:
        return play.turn("text_person", request, f"Sorry, nobody is called {person}.")
    play.call(("send_message", {"phone": found["phone"], "text": message}))
    return play.turn("text_person", request, f'I sent "{message}" to {person}.')


def text_two(play: Play) -> Turn:
    """Two numbers at once, then two messages at once."""
    people, message = play.rng.sample(PEOPLE, 2), play.message()
    request = f'{play.one("Tell", "Text")} {people[0]} and {people[1]} "{message}".'
    found = play.call(*(("find_phone", {"person": person}) for person in people))
    numbers = [one["phone"] for one in found if "phone" in one]
    reached = [person for person, one in zip(people, found, strict=True) if "phone" in one]
    lost = [person for person in people if person not in reached]
    if numbers:
        play.call(*(("send_message", {"phone": number, "text": message}) for number in numbers))
    sent = f'I sent "{message}" to {" and ".join(reached)}.' if reached else ""
    missing = f"Sorry, nobody is called {' or '.join(lost)}." if lost else ""
    return play.turn("text_two", request, " ".join(filter(None, (sent, missing))))


def umbrella(play: Play) -> Turn:
    """Something goes on the calendar only under one kind of sky."""
    city, sky, day, time = play.city(), play.rng.choice(SKIES[:3]), play.rng.choice(DAYS), play.time()
    title = play.rng.choice(TITLES)
    there = play.world.run("get_weather", {"city": city})["sky"]
    if there in SKIES[:3] and play.rng.random() < 0.4:
        sky = there  # else the asked sky would be too rare to learn both branches
    request = f"If the weather in {city} is {sky}, add {title} on {day} at {time}."
    (found,) = play.call(("get_weather", {"city": city}))
    if found["sky"] != sky:
        return play.turn("umbrella", request, f"It is {found['sky']} in {city}, so I added nothing.")
    play.call(("add_event", {"title": title, "day": day, "time": time}))
    return play.turn("umbrella", request, f"It is {sky} in {city}. {title} is on your calendar, {day} at {time}.")


CHAINS = (
    fahrenheit, two_rates, landing_weather, landing_fahrenheit, pick_up, text_person, text_person, text_two, umbrella,
)  # fmt: skip


def chain(play: Play) -> Turn:
    """Calls that need what earlier ones returned."""
    play.memory.clear()
    return play.rng.choice(CHAINS)(play)

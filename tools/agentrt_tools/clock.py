"""Tools that tell the time, convert it between zones and reckon with dates."""

from __future__ import annotations

import calendar
import difflib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import timezone as fixed_zone
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field

from agentrt import tool

Zone = Annotated[str, Field(min_length=1, max_length=64)]
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CLOCK = re.compile(r"[T ]?\d{1,2}:\d\d(:\d\d)?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time as a place's clock and calendar show it. ``time`` is ISO 8601 with the offset to UTC."""

    time: str
    weekday: str
    timezone: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day (ISO 8601) and its weekday."""

    date: str
    weekday: str


@tool(read_only=True, idempotent=True)
def now(
    timezone: Annotated[Zone, Field(description="IANA name such as 'Europe/Paris', 'UTC', or an offset '+05:30'.")] = (
        "UTC"
    ),
) -> Moment:
    """Tell the current date, time and weekday in a time zone."""
    return _moment(datetime.now(_zone(timezone)), timezone)


@tool(read_only=True, idempotent=True)
def convert_time(
    time: Annotated[
        str,
        Field(
            min_length=3,
            max_length=40,
            description="ISO 8601 such as '2026-03-29T14:30', or '14:30' for today. An offset in it wins.",
        ),
    ],
    to_timezone: Annotated[Zone, Field(description="Zone to convert to, e.g. 'Asia/Tokyo'.")],
    from_timezone: Annotated[Zone, Field(description="Zone in which the time is meant.")] = "UTC",
) -> Moment:
    """Convert a date and time from one time zone to another, with daylight saving time as of that date."""
    source = _zone(from_timezone)
    parsed = _parse(time, source)
    note = ""
    if parsed.tzinfo is None:
        parsed, note = _placed(parsed, source, from_timezone)
    try:
        return _moment(parsed.astimezone(_zone(to_timezone)), to_timezone, note)
    except OverflowError as error:
        raise ValueError("the result is outside the calendar, which reaches from year 1 to year 9999") from error


@tool(read_only=True, idempotent=True)
def date_add(
    date: Annotated[date, Field(description="Day to start from, as YYYY-MM-DD.")],
    days: Annotated[int, Field(ge=-4_000_000, le=4_000_000, description="Days to add, negative to go back.")] = 0,
    weeks: Annotated[int, Field(ge=-500_000, le=500_000, description="Weeks to add.")] = 0,
    months: Annotated[int, Field(ge=-120_000, le=120_000, description="Calendar months to add.")] = 0,
    years: Annotated[int, Field(ge=-10_000, le=10_000, description="Calendar years to add.")] = 0,
) -> Day:
    """Add years, months, weeks and days to a date and tell the weekday.

    Years and months come first; a day that the month does not have becomes its last one (31 January plus one
    month is 28 or 29 February).
    """
    try:
        whole = date.year * 12 + date.month - 1 + months + 12 * years
        year, month = whole // 12, whole % 12 + 1
        start = date.replace(year, month, min(date.day, calendar.monthrange(year, month)[1]))
        return _day(start + timedelta(days=days + 7 * weeks))
    except (ValueError, OverflowError, IndexError) as error:
        raise ValueError("the result is outside the calendar, which reaches from year 1 to year 9999") from error


@tool(read_only=True, idempotent=True)
def days_between(
    start: Annotated[date, Field(description="First day, as YYYY-MM-DD.")],
    end: Annotated[date, Field(description="Last day, as YYYY-MM-DD.")],
) -> Annotated[int, Field(description="Days from start to end; negative if end is earlier.")]:
    """Count the days from one date to another; the end is not counted itself, so a day to itself is 0."""
    return (end - start).days


def _moment(moment: datetime, timezone: str, note: str = "") -> Moment:
    name = timezone if moment.tzname() in (None, timezone) else f"{timezone} ({moment.tzname()})"
    return Moment(moment.isoformat(timespec="seconds"), _WEEKDAYS[moment.weekday()], name, note)


def _day(day: date) -> Day:
    return Day(day.isoformat(), _WEEKDAYS[day.weekday()])


def _parse(text: str, source: tzinfo) -> datetime:
    try:
        if _CLOCK.fullmatch(text.strip()):
            hour = text.strip().lstrip("T").rjust(5, "0")
            return datetime.fromisoformat(f"{datetime.now(source).date()}T{hour}")
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: write '2026-03-29T14:30' or '14:30' ({error})") from error


def _placed(local: datetime, zone: tzinfo, name: str) -> tuple[datetime, str]:
    """The moment that a zone's wall clock means, and a word if it means none or two."""
    placed = local.replace(tzinfo=zone)
    other = placed.replace(fold=1)
    if placed.utcoffset() == other.utcoffset():
        return placed, ""
    if placed.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != local:
        return placed, f"{local.isoformat()} does not exist in {name}: clocks are set forward over it."
    return placed, f"{local.isoformat()} happens twice in {name}: clocks are set back; the first one is meant here."


def _zone(name: str) -> tzinfo:
    """The zone called ``name``.

    :raises ValueError: if there is none; the message lists near names, or says that the data are missing.
    """
    if name.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if offset := _OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups()
        away = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if away < timedelta(days=1):
            return fixed_zone(-away if sign == "-" else away)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(_unknown(name)) from None


def _unknown(name: str) -> str:
    known = available_timezones()
    if not known:
        return "this machine has no time zone data: `pip install tzdata`. 'UTC' and offsets like '+02:00' work without."
    wanted = name.strip().replace(" ", "_").casefold()
    folded = {zone.casefold(): zone for zone in sorted(known)}
    near = [zone for key, zone in folded.items() if wanted in (key, key.rsplit("/", 1)[-1])]
    if not near:
        cities = {key.rsplit("/", 1)[-1]: zone for key, zone in folded.items()}
        near += [folded[key] for key in difflib.get_close_matches(wanted, folded, n=3, cutoff=0.7)]
        near += [cities[key] for key in difflib.get_close_matches(wanted.rsplit("/", 1)[-1], cities, n=3, cutoff=0.8)]
    hint = f"did you mean {' or '.join(map(repr, dict.fromkeys(near)))}?" if near else "use an IANA name, 'Area/City'"
    return f"there is no time zone {name!r}; {hint}"

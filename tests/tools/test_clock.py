"""The clock tools: now, conversion between zones, reckoning with dates."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_tools.clock import Day, Moment, convert_time, date_add, days_between, now


def test_now_is_the_present_in_the_zone_that_was_asked_for():
    before = datetime.now(UTC).replace(microsecond=0)
    moment = now("Asia/Kolkata")
    told = datetime.fromisoformat(moment.time)
    assert before <= told <= datetime.now(UTC)
    assert told.utcoffset() == timedelta(hours=5, minutes=30)
    assert moment.timezone == "Asia/Kolkata (IST)"
    assert datetime.fromisoformat(now().time).utcoffset() == timedelta(0)
    assert datetime.fromisoformat(now("-03:30").time).utcoffset() == timedelta(hours=-3, minutes=-30)


def test_every_zone_that_is_known_has_a_now():
    for zone in available_timezones():
        assert now(zone).weekday.endswith("day")


@pytest.mark.parametrize(
    ("time", "source", "target", "moment"),
    [
        ("2026-07-01T12:00", "Europe/Paris", "UTC", Moment("2026-07-01T10:00:00+00:00", "Wednesday", "UTC")),
        ("2026-01-01T12:00", "Europe/Paris", "UTC", Moment("2026-01-01T11:00:00+00:00", "Thursday", "UTC")),
        (
            "2026-01-01 23:30",
            "America/New_York",
            "Asia/Tokyo",
            Moment("2026-01-02T13:30:00+09:00", "Friday", "Asia/Tokyo (JST)"),
        ),
        ("2026-01-01T00:00:00Z", "Asia/Tokyo", "UTC", Moment("2026-01-01T00:00:00+00:00", "Thursday", "UTC")),
        (
            "2026-03-29T02:30",
            "Europe/Paris",
            "UTC",
            Moment(
                "2026-03-29T01:30:00+00:00",
                "Sunday",
                "UTC",
                "2026-03-29T02:30:00 does not exist in Europe/Paris: clocks are set forward over it.",
            ),
        ),
        (
            "2026-10-25T02:30",
            "Europe/Paris",
            "UTC",
            Moment(
                "2026-10-25T00:30:00+00:00",
                "Sunday",
                "UTC",
                "2026-10-25T02:30:00 happens twice in Europe/Paris: clocks are set back; the first one is meant here.",
            ),
        ),
    ],
)
def test_times_are_converted_as_of_their_date(time, source, target, moment):
    assert convert_time(time, target, source) == moment


def test_a_time_without_a_date_is_today():
    told = datetime.fromisoformat(convert_time("9:05", "UTC").time)
    assert (told.hour, told.minute) == (9, 5)
    assert abs(told.date() - datetime.now(UTC).date()) <= timedelta(days=1)


@pytest.mark.parametrize("time", ["noon", "25:00", "2026-02-30T10:00", "2026", "\0", "9999-99-99"])
def test_what_is_no_time_is_refused_with_examples(time):
    with pytest.raises(ValueError, match="is no time: write '2026-03-29T14:30'"):
        convert_time(time, "UTC")


def test_times_at_the_ends_of_the_calendar_are_refused():
    with pytest.raises(ValueError, match="outside the calendar"):
        convert_time("0001-01-01T00:00", "America/New_York", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("paris", "did you mean 'Europe/Paris'\\?"),
        ("New York", "did you mean 'America/New_York'\\?"),
        ("Europe/Pariss", "'Europe/Paris'"),
        ("Nowhere/Land", "there is no time zone 'Nowhere/Land'"),
        ("../../etc/passwd", "use an IANA name"),
        ("/etc/passwd", "there is no time zone"),
        ("Europe", "there is no time zone"),
        ("\0", "there is no time zone"),
        ("+99:00", "there is no time zone"),
        ("\u00e9" * 64, "there is no time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_near_names(zone, words):
    with pytest.raises(ValueError, match=words):
        now(zone)


def test_a_machine_without_zone_data_says_what_to_install():
    code = (
        "import sys, zoneinfo; sys.modules['tzdata'] = None; zoneinfo.reset_tzpath(to=())\n"
        "from agentrt_tools.clock import now\n"
        "print(now('UTC').timezone, now('+02:00').timezone)\n"
        "try: now('Europe/Paris')\n"
        "except ValueError as error: print(error)\n"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "UTC +02:00 (UTC+02:00)"
    assert second.startswith("this machine has no time zone data: `pip install tzdata`.")


@pytest.mark.parametrize(
    ("start", "steps", "end"),
    [
        (date(2026, 1, 31), {"months": 1}, Day("2026-02-28", "Saturday")),
        (date(2024, 1, 31), {"months": 1}, Day("2024-02-29", "Thursday")),
        (date(2024, 2, 29), {"years": 1}, Day("2025-02-28", "Friday")),
        (date(2026, 1, 15), {"months": -1}, Day("2025-12-15", "Monday")),
        (date(2026, 1, 15), {"weeks": 2, "days": -1}, Day("2026-01-28", "Wednesday")),
        (date(2026, 12, 31), {"days": 1}, Day("2027-01-01", "Friday")),
        (date(2026, 1, 1), {}, Day("2026-01-01", "Thursday")),
    ],
)
def test_dates_are_added_by_the_calendar(start, steps, end):
    assert date_add(start, **steps) == end


@pytest.mark.parametrize("steps", [{"years": 9000}, {"years": -3000}, {"days": 4_000_000}, {"months": 120_000}])
def test_dates_outside_the_calendar_are_refused(steps):
    with pytest.raises(ValueError, match="year 1 to year 9999"):
        date_add(date(2026, 1, 1), **steps)


@given(st.dates(min_value=date(100, 1, 1), max_value=date(9000, 1, 1)), st.integers(-30_000, 30_000))
def test_days_between_undoes_adding_days(start, days):
    assert days_between(start, date.fromisoformat(date_add(start, days=days).date)) == days


def test_every_clock_tool_only_reads():
    for function in (now, convert_time, date_add, days_between):
        spec = function.spec()
        assert spec.read_only
        assert spec.idempotent
        assert all("description" in schema for schema in spec.input_schema["properties"].values())

"""Tools of an imaginary airline, for the examples: `agentrt run … --tool examples/flights.py`."""

from typing import Annotated, Literal

from pydantic import BaseModel

from agentrt import tool


class Landing(BaseModel):
    """Where and when a flight lands."""

    airport: str
    source_timezone: Annotated[str, "IANA name of the airport's time zone"]
    time: Annotated[str, "HH:MM at the airport"]


FLIGHTS = {
    "TK52": Landing(airport="IST", source_timezone="Europe/Istanbul", time="14:05"),
    "LH710": Landing(airport="FRA", source_timezone="Europe/Berlin", time="09:40"),
    "BA7": Landing(airport="LHR", source_timezone="Europe/London", time="16:20"),
}


@tool(read_only=True)
def landing_time(flight: Literal["TK52", "LH710", "BA7"]) -> Landing:
    """Look up when a flight lands, in the local time of its airport, and that time zone.

    Args:
        flight: the flight number

    """
    return FLIGHTS[flight]

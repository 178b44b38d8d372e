"""Tools of an imaginary airline, for the examples: `agentrt run … --tool examples/flights.py`."""

from typing import Annotated, Literal

from pydantic import BaseModel

from agentrt import tool


class Landing(BaseModel):
    """Where and when a flight lands."""

    airport: str
    airport_timezone: Annotated[str, "IANA name of the airport's time zone"]
    local_time: Annotated[str, "HH:MM at the airport"]


FLIGHTS = {
    "TK52": Landing(airport="IST", airport_timezone="Europe/Istanbul", local_time="14:05"),
    "LH710": Landing(airport="FRA", airport_timezone="Europe/Berlin", local_time="09:40"),
    "BA7": Landing(airport="LHR", airport_timezone="Europe/London", local_time="16:20"),
}


@tool(read_only=True)
def landing_time(flight: Literal["TK52", "LH710", "BA7"]) -> Landing:
    """Look up where and when a flight lands, in the airport's own time.

    Args:
        flight: the flight number

    """
    return FLIGHTS[flight]

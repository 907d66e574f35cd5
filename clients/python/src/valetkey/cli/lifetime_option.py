"""How long something shall live, as an option says it."""

from datetime import timedelta

from valetkey.cli.screen import Screen
from valetkey.durations import parse_duration


def parse_life(text: str, option: str, screen: Screen) -> timedelta:
    """Returns how long something shall live, and notes how a bare number was taken: 15 is often meant as minutes.

    Raises InvalidArgumentError as `parse_duration` does.
    """
    life = parse_duration(text, option)
    if life and text.strip().lstrip("-").isdecimal():
        screen.note(f"{option}: {text.strip()} is taken as {text.strip()} seconds; write {text.strip()}m for minutes")
    return life

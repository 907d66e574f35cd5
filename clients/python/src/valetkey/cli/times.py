"""Moments as the command line shows them."""

from datetime import UTC, datetime


def utc(moment: datetime) -> str:
    """Returns a moment in UTC to the second, as RFC 3339 writes it: `2026-05-01T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Moments and times as people read them."""

from __future__ import annotations

import datetime


def utc(seconds: float) -> str:
    """A moment, given in seconds since 1970."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """A time in whole seconds, or minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def short_duration(seconds: float) -> str:
    """The same, with three digits of what is shorter than a minute."""
    return f"{seconds:.3g} s" if 0 < seconds < 59.95 else duration(seconds)

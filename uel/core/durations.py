"""Durations for people."""

SECONDS_PER_MINUTE, SECONDS_PER_HOUR, SECONDS_PER_DAY = 60, 3600, 86_400


def duration_text(seconds: float | int) -> str:
    """A duration in words, as exact as an estimate is.

    Example:
        >>> [duration_text(s) for s in (0.4, 40, 75, 250, 5000, 12_000, 200_000)]
        ['under 1 s', '40 s', '1 min', '4 min', '1 h 20 min', '3 h 20 min', '2 days 8 h']
    """
    if seconds < 1:
        return "under 1 s"
    if seconds < SECONDS_PER_MINUTE:
        return f"{round(seconds)} s"
    if seconds < SECONDS_PER_HOUR:
        return f"{round(seconds / SECONDS_PER_MINUTE)} min"
    if seconds < SECONDS_PER_DAY:
        hours, minutes = divmod(round(seconds / SECONDS_PER_MINUTE), 60)
        return f"{hours} h {minutes // 10 * 10} min".removesuffix(" 0 min")
    days, hours = divmod(round(seconds / SECONDS_PER_HOUR), 24)
    return f"{days} day{'s' * (days > 1)} {hours} h".removesuffix(" 0 h")

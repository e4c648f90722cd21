"""Bad input by kind: each row is refused with a clear error, or set aside by a named rule; none becomes a number."""

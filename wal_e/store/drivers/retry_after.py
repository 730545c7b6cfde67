"""How long a service asks to wait: the header Retry-After of RFC 9110, 10.2.3."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_retry_after(text: str | None) -> float | None:
    """Return the seconds that are meant, given as a number or as a date; None where nothing that can be read is."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())

"""What an ITCH file is, by its name and its first messages.

Invariants: a name that says two days says none; Nasdaq's three markets have one layout, and are told by the name.
"""

from __future__ import annotations

import re

from tickvault.market.feeds.itch.kernels import SIZES
from tickvault.market.feeds.text import day_start_ns


def date_of(name: str) -> str | None:
    """Return the day that a file's name says, None if it says none or more than one.

    >>> date_of("01302019.NASDAQ_ITCH50.gz"), date_of("S013019-v50.txt.gz"), date_of("20190130.BX_ITCH_50.gz")
    ('2019-01-30', '2019-01-30', '2019-01-30')
    """
    found = set()
    for text in re.findall(r"(?<!\d)\d{4}[-_]\d\d[-_]\d\d(?!\d)|(?<!\d)\d{8}(?!\d)", name):
        digits = re.sub(r"\D", "", text)
        # No month is 19 or 20, so that the two ways of writing cannot be taken for each other.
        found.add(digits if digits[:2] in ("19", "20") else digits[4:] + digits[:4])
    for digits in re.findall(r"(?<![A-Za-z\d])S(\d{6})(?!\d)", name):
        found.add(f"20{digits[4:]}{digits[:4]}")
    days = set()
    for digits in found:
        day = f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
        try:
            day_start_ns(day)
        except ValueError:
            continue
        if day >= "1990":
            days.add(day)
    return days.pop() if len(days) == 1 else None


def looks_right(messages: bytes) -> bool:
    """Return whether length-prefixed messages are ITCH 5.0's: the first one is, and nearly all of the next thousand."""
    place, right, wrong = 0, 0, 0
    while place + 3 <= len(messages) and right + wrong < 1000:
        size = int.from_bytes(messages[place : place + 2], "big")
        if size and SIZES.get(chr(messages[place + 2])) == size:
            right += 1
        elif size:
            wrong += 1
            if not right:
                return False
        place += 2 + size
    return wrong * 4 <= right and right > 0


def venue_of(name: str) -> str:
    """Return Nasdaq's market that a file's name says: BX, PSX, or Nasdaq itself."""
    words = set(re.split(r"[^A-Z]+", name.upper()))
    return "XBOS" if "BX" in words else "XPSX" if "PSX" in words else "XNAS"

"""Which feeds there are, and which of them reads a file.

Feeds are found by the entry points ``tickvault.feeds`` of the installed packages.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import entry_points

from tickvault.errors import InvalidInputError
from tickvault.market.feeds.protocol import Feed
from tickvault.market.feeds.source import Source


@cache
def feeds() -> dict[str, Feed]:
    """Return the feeds by name.

    Raises
    ------
    InvalidInputError
        A feed cannot be loaded; the message names what it lacks.
    """
    found: dict[str, Feed] = {}
    for point in entry_points(group="tickvault.feeds"):
        try:
            feed = point.load()()
        except ImportError as error:
            raise InvalidInputError(
                f"the feed {point.name} cannot be loaded ({error}); install the extra: pip install 'tickvault[market]'"
            ) from error
        found[feed.name] = feed
    return found


def feed_of(source: Source, name: str | None = None) -> Feed:
    """Return the feed that reads a source: the one named, or the one that recognises it.

    Raises
    ------
    InvalidInputError
        No feed has the name; none, or more than one, recognises the source.
    """
    known = feeds()
    if name is not None:
        if name not in known:
            raise InvalidInputError(f"there is no feed {name!r}; the feeds are {', '.join(sorted(known))}")
        return known[name]
    if not source.head and not os.path.getsize(source.path):
        raise InvalidInputError(f"ingest {source.path}: the file is empty (0 bytes); there is nothing to take in")
    fitting = [feed for feed in known.values() if feed.recognises(source)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(sorted(feed.name for feed in fitting))
        raise InvalidInputError(f"ingest {source.path}: it may be {names}; say which with format= (--format)")
    raise InvalidInputError(
        f"ingest {source.path}: no feed recognises it by its name and first bytes; say what it is with format= "
        f"(--format), one of {', '.join(sorted(known))}; `table` reads CSV and Parquet by a mapping of columns"
    )

"""Numbered messages in datagrams (MoldUDP64, IEX-TP): put in sequence, repeats dropped, gaps found.

A datagram says which stream it is of, the number of its first message and how many there are.  One that is ahead of its
turn waits until the missing one, found among the next `WINDOW` datagrams of the capture (of a second feed, say), has
been taken; when there is none, messages were lost.

Invariants: each message of a stream is given once, in the order of its numbers; after a loss, the rest of the stream is
told as doubtful.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.feeds.pcap import Payloads

WINDOW = 256
STREAM_COUNT_MAX = 1024


@dataclass(slots=True)
class Tally:
    """What was seen in a source, beside its rows; of the feed's last `decode`."""

    messages: dict[str, int] = field(default_factory=dict)
    """By the letter of their type."""
    unknown: int = 0
    """Messages of a type that the format has not; skipped."""
    gaps: int = 0
    missing: int = 0
    """Messages that the gaps hold."""
    missing_before: int = 0
    """Messages of the streams before their first datagram in the capture."""
    repeated: int = 0
    """Messages that came again, or after their gap was given up; dropped."""
    foreign: int = 0
    """Datagrams of other protocols."""


class Datagrams(NamedTuple):
    """What the headers of a chunk's datagrams say."""

    mine: Array
    """bool: of this protocol."""
    keys: Array
    """uint64, shape (n, 2): the stream."""
    first: Array
    """int64: number of the first message."""
    counts: Array
    """int64: messages in it."""


class Taken(NamedTuple):
    """Datagrams to read, in sequence."""

    places: Array
    """int64: which of the chunk."""
    skip: Array
    """int64: how many of its first messages are repeats."""
    doubtful: Array
    """uint8: 1 after messages were lost."""


@njit(nogil=True, cache=True)
def _in_sequence(
    mine: Any, keys: Any, first: Any, count: Any, used: Any, streams: Any, known: Any, last: Any, out: Any, tally: Any
) -> Any:
    """Return (datagrams taken, the one to stop before, number of streams known); -1 streams: too many.

    `streams`, int64, holds (key, key, next number, doubtful, begun) of each.
    """
    taken, size = 0, len(mine)
    for place in range(size):
        if not mine[place] or used[place]:
            continue
        stream = 0
        while stream < known and (streams[stream, 0] != keys[place, 0] or streams[stream, 1] != keys[place, 1]):
            stream += 1
        if stream == known:
            if known == len(streams):
                return taken, place, -1
            streams[stream, 0], streams[stream, 1] = keys[place, 0], keys[place, 1]
            streams[stream, 2] = min(1, first[place])
            streams[stream, 3] = streams[stream, 4] = 0
            known += 1
        while first[place] > streams[stream, 2]:
            if place + 256 >= size and not last:
                return taken, place, known
            found, nearest = -1, first[place]
            for other in range(place + 1, min(size, place + 256)):
                if (
                    not mine[other]
                    or used[other]
                    or keys[other, 0] != keys[place, 0]
                    or keys[other, 1] != keys[place, 1]
                    or first[other] + count[other] <= streams[stream, 2]
                ):
                    continue
                if first[other] <= streams[stream, 2]:
                    found = other
                    break
                nearest = min(nearest, first[other])
            if found < 0:
                if streams[stream, 4]:
                    tally[0] += 1
                    tally[1] += nearest - streams[stream, 2]
                else:
                    tally[2] += nearest - streams[stream, 2]
                streams[stream, 2] = nearest
                streams[stream, 3] = 1
                streams[stream, 4] = 1
                continue
            out[0, taken] = found
            out[1, taken] = streams[stream, 2] - first[found]
            out[2, taken] = streams[stream, 3]
            tally[3] += out[1, taken]
            taken += 1
            used[found] = True
            streams[stream, 2] = first[found] + count[found]
            streams[stream, 4] = 1
        streams[stream, 4] = 1
        following = first[place] + count[place]
        if following <= streams[stream, 2]:
            tally[3] += count[place]
            continue
        out[0, taken] = place
        out[1, taken] = streams[stream, 2] - first[place]
        out[2, taken] = streams[stream, 3]
        tally[3] += out[1, taken]
        taken += 1
        streams[stream, 2] = following
    return taken, size, known


class Sequencer:
    """Puts the datagrams of a capture in sequence, chunk by chunk."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._streams = np.zeros((STREAM_COUNT_MAX, 5), np.int64)
        self._known = 0
        self._ahead = np.empty(0, np.int64)
        """Places in the capture of datagrams that were taken before their turn, and will be met again."""

    def take(self, chunk: Payloads, datagrams: Datagrams) -> tuple[Taken, int | None]:
        """Return what to read of a chunk, and the record that the next chunk must begin with, None if there is none.

        Raises
        ------
        InvalidInputError
            The capture has more than `STREAM_COUNT_MAX` streams.
        """
        places = chunk.records + chunk.offset
        used = np.isin(places, self._ahead) if len(self._ahead) else np.zeros(len(places), np.bool_)
        out, counts = np.empty((3, len(places)), np.int64), np.zeros(4, np.int64)
        keys = np.ascontiguousarray(datagrams.keys).view(np.int64)
        taken, stop, self._known = _in_sequence(
            datagrams.mine,
            keys,
            datagrams.first,
            datagrams.counts,
            used,
            self._streams,
            self._known,
            chunk.last,
            out,
            counts,
        )
        if self._known < 0:
            raise InvalidInputError(f"the capture has more than {STREAM_COUNT_MAX} streams of numbered messages")
        tally = self._tally
        tally.gaps += int(counts[0])
        tally.missing += int(counts[1])
        tally.missing_before += int(counts[2])
        tally.repeated += int(counts[3])
        tally.foreign += int((~datagrams.mine[:stop]).sum())
        self._ahead = places[stop:][used[stop:]]
        index, skip, doubtful = (out[row, :taken] for row in range(3))
        record = int(chunk.records[stop]) if stop < len(places) else None
        return Taken(index, skip, doubtful.astype(np.uint8)), record

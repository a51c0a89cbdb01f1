"""Kernels that walk, group and arrange records of Databento Binary Encoding.

Records are of whole words of four bytes: what the kernels get are the words from the first record on, and offsets among
them.

Invariants: a kernel never reads beyond its block; records keep their order within a series.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

#: Why `walk` stopped: the block ends; metadata begins; a record is shorter than its header; a symbol is mapped after
#: other records.
ENDED, METADATA, IMPOSSIBLE, MAPPING = 0, 1, 2, 3
HEADER_WORDS = 4
_DBN = 0x4E4244  # the letters, as metadata begins
_DAY_NS = 86_400_000_000_000
# One day less than 63 bits hold, so that a bar's end fits too.
_LATEST = 2**63 - 1 - _DAY_NS
#: Days of records that have no time at all, and of those whose time no clock shows.
NO_TIME, BAD_TIME = -1, -2


@njit(nogil=True, cache=True)
def walk(words: Any, offsets: Any) -> Any:
    """Write where whole records begin.

    Returns (how many, how many of the first are mappings of symbols, where it stopped, why).
    """
    size = len(words)
    place = np.int64(0)
    count = 0
    mappings = 0
    while place < size:
        head = words[place]
        if head & 0xFFFFFF == _DBN:
            # Where a record would tell its length, its rtype and half of its publisher.
            return count, mappings, place, METADATA
        length = np.int64(head & 0xFF)
        if length < HEADER_WORDS:
            return count, mappings, place, IMPOSSIBLE
        if place + length > size:
            break
        if (head >> 8) & 0xFF == 0x16:
            if mappings < count:
                return count, mappings, place, MAPPING
            mappings += 1
        offsets[count] = place
        count += 1
        place += length
    return count, mappings, place, ENDED


@njit(nogil=True, cache=True)
def _i64(words: Any, place: Any) -> Any:
    """Return two words as int64: -1 is undefined, another negative number beyond 63 bits."""
    return np.int64(words[place]) | (np.int64(words[place + 1]) << 32)


@njit(nogil=True, cache=True)
def group(words: Any, offsets: Any, receive_offsets: Any, slots: Any, keys: Any, groups: Any) -> Any:
    """Number the records by what decides their series: rtype, length, instrument and day.

    Writes each record's group, and of each group (rtype, length in words, instrument_id, day) into `keys`; returns how
    many groups there are, or -1 if `keys` does not hold them.

    Parameters
    ----------
    receive_offsets : ndarray of int64
        By rtype: where `ts_recv` stands in a record, in words; 0: nowhere.
    slots : ndarray of int64
        A table to find groups in, of a power of two; -1 throughout.
    """
    count = 0
    mask = len(slots) - 1
    last = -1
    today, begin, end = np.int64(0), np.int64(0), np.int64(0)
    for row in range(len(offsets)):
        place = offsets[row]
        length = np.int64(words[place] & 0xFF)
        rtype = np.int64((words[place] >> 8) & 0xFF)
        instrument = np.int64(words[place + 1])
        happened = _i64(words, place + 2)
        received = np.int64(-1)
        at = receive_offsets[rtype]
        if 0 < at <= length - 2:
            received = _i64(words, place + at)
        index = happened if received == -1 else received
        if happened < -1 or happened > _LATEST or received < -1 or received > _LATEST:
            day = np.int64(BAD_TIME)
        elif index == -1:
            day = np.int64(NO_TIME)
        else:
            if not begin <= index < end:
                today = index // _DAY_NS
                begin = today * _DAY_NS
                end = begin + _DAY_NS
            day = today
        if last >= 0:
            same = keys[last, 0] == rtype and keys[last, 1] == length
            if same and keys[last, 2] == instrument and keys[last, 3] == day:
                groups[row] = last
                continue
        mixed = np.uint64(instrument) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= np.uint64(day + 2) * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed ^= np.uint64(rtype * 1024 + length) * np.uint64(0x165667B19E3779F9)
        slot = np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(mask))
        while True:
            known = slots[slot]
            if known < 0:
                if count >= len(keys):
                    return -1
                keys[count, 0] = rtype
                keys[count, 1] = length
                keys[count, 2] = instrument
                keys[count, 3] = day
                slots[slot] = count
                known = count
                count += 1
                break
            same = keys[known, 0] == rtype and keys[known, 1] == length
            if same and keys[known, 2] == instrument and keys[known, 3] == day:
                break
            slot = (slot + 1) & mask
        groups[row] = known
        last = known
    return count


@njit(nogil=True, cache=True)
def arrange(groups: Any, series: Any, ends: Any, targets: Any, ordinals: Any) -> Any:
    """Say where each record is to stand, that those of a series stand together, in the order of the stream.

    Parameters
    ----------
    series : ndarray of int64
        By group: the number of its series; -1: not stored.
    ends : ndarray of int64
        By series; written: where its records end.
    targets : ndarray of int64
        By record; written: its place, -1 where it is not stored.
    ordinals : ndarray of int64
        By place; written: how many stored records stand before it in the stream.

    Returns how many are stored.
    """
    ends[:] = 0
    for row in range(len(groups)):
        number = series[groups[row]]
        if number >= 0:
            ends[number] += 1
    total = 0
    for number in range(len(ends)):
        here = ends[number]
        ends[number] = total
        total += here
    stored = 0
    for row in range(len(groups)):
        number = series[groups[row]]
        targets[row] = -1
        if number >= 0:
            targets[row] = ends[number]
            ordinals[ends[number]] = stored
            ends[number] += 1
            stored += 1
    return stored


@njit(nogil=True, cache=True)
def scatter(words: Any, offsets: Any, targets: Any, first: Any, out: Any) -> Any:
    """Copy the records whose places begin with `first`, all of one length, each to its place.

    Reading in order and writing to many places is easier on the caches than the other way round.
    """
    count, length = out.shape
    for row in range(len(offsets)):
        target = targets[row] - first
        if 0 <= target < count:
            place = offsets[row]
            for step in range(length):
                out[target, step] = words[place + step]

"""Work on many rows spread over the processors; the kernels release the GIL.

Invariants: what comes out is the same for any number of threads; few rows are done where they are called.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tickvault.market.codec.reading import threads_for

_Made = TypeVar("_Made")
#: Values, read one after the other, that take as long as starting a thread does, several times over.
_WORTH = 400_000


def by_span(count: int, values: int, work: Callable[[int, int], _Made]) -> list[_Made]:
    """Return what `work` makes of spans [begin, end) of `count` rows: one span, or one a processor.

    Parameters
    ----------
    values : int
        How many values the work reads, which tells whether threads are worth it.
    """
    parts = max(min(threads_for(None), values // _WORTH, count), 1)
    spans = list(itertools.pairwise(count * part // parts for part in range(parts + 1)))
    if parts == 1:
        return [work(0, count)]
    with ThreadPoolExecutor(parts - 1, "tickvault-joins") as pool:
        others = [pool.submit(work, begin, end) for begin, end in spans[1:]]
        return [work(*spans[0]), *(other.result() for other in others)]

"""What is stored and read in a benchmark: many distinct objects under distinct keys, used in random order.

Invariants: no two bodies are alike, each begins with its own number (so that an answer can be checked by
eight bytes) and goes on with random bytes; keys look like those of market data; everything follows from
numbers, so that two processes agree on it without talking.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: Bytes of a body that tell which object it is.
BEGINNING_SIZE = 8


def object_key(number: int) -> str:
    """Return the key of an object."""
    return f"XCME/ES/2026-01-{number % 28 + 1:02d}/{number:08d}"


def new_key(prefix: str, number: int) -> str:
    """Return the key of an object that is written while measured: all distinct, in no order."""
    # An odd factor maps the numbers below 2**32 one to one.
    return f"{prefix}/{number * 2_654_435_761 % (1 << 32):010d}"


def beginning(number: int) -> bytes:
    """Return the first bytes of an object."""
    return number.to_bytes(BEGINNING_SIZE, "little")


def bodies(count: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Make the numbers and bodies of `count` objects of `size` bytes."""
    source = np.random.default_rng(size)
    for number in range(count):
        yield number, beginning(number) + source.bytes(size - BEGINNING_SIZE)


def shuffled(count: int, seed: int) -> list[int]:
    """Return the numbers below `count` in a random order that depends on the seed only."""
    order: list[int] = np.random.default_rng(seed).permutation(count).tolist()
    return order

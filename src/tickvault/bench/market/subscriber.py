"""The other process: it waits for rows of a subscription, or for bytes of a pipe, and notes when each is in its hands.

Invariants: a row has arrived when its numbers can be read; the time is CLOCK_MONOTONIC's, which all processes share.
"""

from __future__ import annotations

import os
import time
from array import array

from tickvault.bench.child import Message, answer_commands
from tickvault.bench.market.stage import held_library
from tickvault.market.journal.subscription import Subscription
from tickvault.objects.store import ObjectStore, open_store

_WAIT_MAX_S = 10.0


class SubscriberCommands:
    """The commands."""

    def __init__(self) -> None:
        self._store: ObjectStore | None = None
        self._subscription: Subscription | None = None
        self._pipe = -1

    def open_pipe(self, message: Message) -> Message:
        """Open the reading end of a pipe."""
        self._pipe = os.open(message["path"], os.O_RDONLY)
        return {}

    def subscribe(self, message: Message) -> Message:
        """Subscribe to a series from its next row on."""
        self._store = open_store(message["vault"])
        library = held_library(self._store, message["library"]).library
        self._subscription = library.subscribe(message["symbol"], message["schema"])
        return {}

    def take_bytes(self, message: Message) -> Message:
        """Wait for bytes one by one."""
        arrived, clock = array("q"), time.monotonic_ns
        for _ in range(message["count"]):
            os.read(self._pipe, 1)
            arrived.append(clock())
        return {"arrived": arrived.tobytes()}

    def take_rows(self, message: Message) -> Message:
        """Wait for rows; those of one batch arrive together."""
        arrived, clock = array("q"), time.monotonic_ns
        assert self._subscription is not None, "subscribe comes first"
        while len(arrived) < message["count"]:
            table = self._subscription.get(_WAIT_MAX_S)
            if table is None:
                raise TimeoutError(f"{len(arrived)} of {message['count']} rows came")
            int(table["price"][-1])
            now = clock()
            arrived.extend([now] * len(table))
        return {"arrived": arrived.tobytes()}


def main() -> None:
    """Answer the parent's commands."""
    commands = SubscriberCommands()
    answer_commands({name: getattr(commands, name) for name in dir(commands) if not name.startswith("_")})


if __name__ == "__main__":
    main()

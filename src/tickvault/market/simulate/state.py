"""What a kernel of the simulator remembers from call to call: one record of whole numbers.

Invariants: all of it is here, so that a day may be made in batches of any size; a record passes through kernels by
reference.
"""

from __future__ import annotations

import numpy as np

#: Everything that an exchange knows between two batches, and what it is told of the instrument.
STATE = np.dtype(
    [
        ("random", "<u8"),
        *(
            (name, "<i8")
            for name in (
                # time, in ns; rates in 2**-50 events
                "time", "close", "step", "step_end", "base", "heat", "jump", "half_life_bits", "weight_left",
                # what is still to come, and what came
                "rows_left", "rows", "events", "sequence", "number", "received", "in_flight",
                # the book: best book of each side, what the top was at the last row of `tops`
                "bid", "ask", "bids", "asks", "top_bid", "top_bid_size", "top_bid_count",
                "top_ask", "top_ask_size", "top_ask_count", "aggressor",
                # the instrument
                "tick", "lowest_tick", "lot", "floor", "half_spread", "orders", "latency",
            )
        ),
    ]
)  # fmt: skip

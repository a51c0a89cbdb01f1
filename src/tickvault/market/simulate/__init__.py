"""The simulator: a seeded exchange that emits order-by-order flow, in our schemas, at any size.

::

    from tickvault.market.simulate import Market

    for table in Market(symbols=20, seed=1, date="2026-01-05", events=1_000_000).flow(["mbo", "trades"]):
        library.append(table.symbol, table.schema.name, table, venue=table.venue)

The data's path: `draws` (random numbers) and `path` (how busy the market is, and what things are worth) lead the
`exchange`, which lets `orders` change its `book` at the times of `arrivals` and writes `rows`; `trading_day` runs it
for an `instrument` of the `market`; `flow` makes tables of what it did, and `faults` may spoil them on the way.
"""

from tickvault.market.simulate.faults import Faults
from tickvault.market.simulate.flow import Flow
from tickvault.market.simulate.instrument import Instrument, invent
from tickvault.market.simulate.market import Market

__all__ = ["Faults", "Flow", "Instrument", "Market", "invent"]

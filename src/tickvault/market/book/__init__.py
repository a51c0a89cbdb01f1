"""Books: orders and level changes in, levels over time out; see ``docs/how-to/replay-order-books.md``."""

from tickvault.market.book.depth import Best, Depth, Levels
from tickvault.market.book.faults import Fault, Faults
from tickvault.market.book.orderbook import OrderBook, Position, QueuedOrder
from tickvault.market.book.sampling import book_at, book_levels

__all__ = [
    "Best",
    "Depth",
    "Fault",
    "Faults",
    "Levels",
    "OrderBook",
    "Position",
    "QueuedOrder",
    "book_at",
    "book_levels",
]

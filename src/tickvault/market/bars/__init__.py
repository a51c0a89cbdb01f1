"""Bars of time, from trades and from quotes."""

from tickvault.market.bars.bars import bars

__all__ = ["bars"]

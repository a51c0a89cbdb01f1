"""The library: market data of one vault by series, in and out. Get it with ``vault.library(name)``."""

from tickvault.market.library.contents import QuarantinedRow, SeriesStat
from tickvault.market.library.library import Library

__all__ = ["Library", "QuarantinedRow", "SeriesStat"]

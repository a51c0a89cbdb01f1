"""The real files: which belong together, and what is promised of the bytes that a row takes.

Real market data is no part of the project: its folder is named by ``--data`` or ``TICKVAULT_MARKET_DATA``.

Invariants: a set whose files are not there is skipped, and told.
"""

from __future__ import annotations

import glob
import os
from typing import NamedTuple

from tickvault.errors import NotFoundError

VARIABLE = "TICKVAULT_MARKET_DATA"


class FileSet(NamedTuple):
    """Files that are ingested into one library."""

    name: str
    """Of the library."""
    patterns: tuple[str, ...]
    """Of paths in the folder."""


SPY = FileSet("spy", ("lean/equity/usa/tick/spy/*_trade.zip",))
AIG = FileSet("aig", ("lean/equity/usa/tick/aig/*_quote.zip", "lean/equity/usa/tick/aig/*_trade.zip"))
BINANCE = FileSet("binance", ("binance/*.gz",))
ES = FileSet("es", ("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst",))
LOBSTER = FileSet("lobster", ("lobster/*_message_1.csv", "lobster/*_orderbook_1.csv"))
SSE = FileSet("sse", ("sse/SHorders.zip", "sse/SHtrans.zip"))
MERGED = FileSet("merged", ("sse/SHorderTrans.zip",))
#: The sets that the ratio over the whole is of; what is merged of orders and trades is there once.
WHOLE = (SPY, AIG, BINANCE, ES, LOBSTER, SSE)
ALL = (*WHOLE, MERGED)


def data_folder(told: str | None) -> str | None:
    """Return the folder of real market data: the one told, or the environment's; None if there is none.

    Raises
    ------
    NotFoundError
        It is named, and not there.
    """
    folder = told or os.environ.get(VARIABLE) or None
    if folder is not None and not os.path.isdir(folder):
        raise NotFoundError(f"bench market: the folder of market data {folder} is not there; --data names it")
    return folder


def paths_of(folder: str | None, files: FileSet) -> list[str]:
    """Return the paths of a set's files, in the order of its patterns."""
    if folder is None:
        return []
    return [path for pattern in files.patterns for path in sorted(glob.glob(os.path.join(folder, pattern)))]

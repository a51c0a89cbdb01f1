"""Files of columns: warm ones are mapped, cold ones are small; see ``docs/formats/column-file.md``."""

from tickvault.market.codec.cold import encode_cold, open_cold
from tickvault.market.codec.coldfile import ColdFile
from tickvault.market.codec.identity import Identity
from tickvault.market.codec.layout import Run, joined
from tickvault.market.codec.warm import ColumnFile, encode_warm, open_warm

__all__ = [
    "ColdFile",
    "ColumnFile",
    "Identity",
    "Run",
    "encode_cold",
    "encode_warm",
    "joined",
    "open_cold",
    "open_warm",
]

"""Records as a Parquet file, for whoever analyses an export.

Invariants: a file of columns cannot hold lone surrogates, so they are written as ``\\udcXX``; what counts are the
blocks and the lines, this is a copy. Needs pyarrow, and says so.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from tickvault.audit.jsonl import as_mapping
from tickvault.audit.record import AuditRecord

_ROWS = 65_536
_NUMBERS = {
    "sequence": "int64",
    "clock_error_ns": "int64",
    "status": "uint16",
    "size_bytes": "uint64",
    "vault_sequence": "int64",
}


def available() -> bool:
    """Return whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


class ParquetFile:
    """A Parquet file in the making."""

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = ("category", "action", "result", "door", "identity", "source", "request_id", "bucket", "key")
        self._schema = pa.schema(
            [
                ("sequence", pa.int64()),
                ("time", pa.timestamp("ns", "UTC")),
                *((name, pa.type_for_alias(kind)) for name, kind in _NUMBERS.items() if name != "sequence"),
                *((name, pa.string()) for name in (*texts, "version_id")),
                ("detail", pa.map_(pa.string(), pa.string())),
            ]
        )
        self._pa = pa
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, record: AuditRecord) -> None:
        """Add a record as a row."""
        row = {name: _plain(value) for name, value in as_mapping(record).items()}
        row["time"] = row["time_ns"]
        row["detail"] = [(_plain(name), _plain(value)) for name, value in record.detail.items()]
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []

    def close(self) -> None:
        """Write what is left, and the footer."""
        self._flush()
        self._writer.close()


def _plain(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value

"""The library: a file goes in once, its rows come out as they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.catalog import Catalog
from tickvault.market.columns import Columns
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.library import Library, filling
from tickvault.market.schema import schema_of
from tickvault.market.times import to_ns

DAY = to_ns("2023-12-26")
HOUR = 3_600 * 10**9


class LineFeed:
    """Lines of ``time,symbol,price``; `time` in hours of a day, ``bad`` cannot be decoded, ``break`` is damage."""

    name = "line"

    def recognises(self, source: Source) -> bool:
        return source.name.endswith(".line")

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        options.needed("venue", source, "a line names no venue")
        ordinal = 0
        for row, line in enumerate(Path(source.path).read_text().splitlines()):
            yield Counted(1)
            if line == "bad":
                yield Quarantined(row, "no comma", line.encode())
                continue
            if line == "break":
                raise tv.IntegrityError("the file is cut off")
            time, symbol, price = line.split(",")
            arrays = {
                "ts_event": np.array([DAY + round(float(time) * HOUR)], np.int64),
                "price": np.array([int(price)], np.int64),
            }
            yield Piece(str(options.venue), symbol, Columns(schema_of("trades"), arrays), np.array([ordinal], np.int64))
            ordinal += 1


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tv.Vault]:
    feed = LineFeed()
    monkeypatch.setattr(filling, "feed_of", lambda source, name=None: feed)
    with tv.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def ticks(vault: tv.Vault) -> Library:
    return vault.library("cme")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(*lines: str, name: str = "a.line") -> str:
        path = tmp_path / name
        path.write_text("\n".join(lines))
        return os.fspath(path)

    return write


def prices(ticks: Library, symbol: str = "ES", **named: Any) -> list[int]:
    return ticks.read(symbol, "trades", **named)["price"].tolist()


def test_rows_come_out_as_they_went_in(ticks: Library, file: Callable[..., str]) -> None:
    report = ticks.ingest(file("1,ES,10", "1,ES,11", "bad", "25,ES,12", "2,NQ,20"), venue="X")
    assert (report.rows, report.stored, report.quarantined) == (5, 4, 1)
    assert report.symbols == ("ES", "NQ")
    assert report.reasons == {"no comma": 1}
    assert prices(ticks) == [10, 11, 12]
    assert prices(ticks, "NQ") == [20]
    table = ticks.read("ES", "trades")
    assert (table.venue, table.symbol, table.schema.name) == ("X", "ES", "trades")
    stat = ticks.stat("ES", "trades")
    assert (stat.rows, stat.partitions, stat.versions) == (3, 2, 1)
    assert (stat.first_ns, stat.last_ns) == (DAY + HOUR, DAY + 25 * HOUR)
    assert ticks.symbols() == ["ES", "NQ"]
    assert [(row.path, row.row, row.reason, row.raw) for row in ticks.quarantine()] == [
        ("a.line", 2, "no comma", b"bad")
    ]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (None, None, [10, 11, 12, 13]),
        (DAY + HOUR, DAY + 2 * HOUR, [10]),
        ("2023-12-26T02:00", None, [11, 12, 13]),
        (None, "2023-12-27", [10, 11]),
        ("2023-12-27", "2023-12-28", [12, 13]),
        ("2023-12-27T01:00:00.000000001", None, [13]),
        ("2024-01-01", None, []),
        ("2023-12-26T05:00", "2023-12-26T05:00", []),
    ],
)
def test_a_range_holds_its_start_and_not_its_end(
    ticks: Library, file: Callable[..., str], start: Any, end: Any, found: list[int]
) -> None:
    ticks.ingest(file("1,ES,10", "2,ES,11", "25,ES,12", "26,ES,13"), venue="X")
    table = ticks.read("ES", "trades", start, end)
    assert table["price"].tolist() == found
    assert table.columns == ("ts_event", "price")


def test_the_same_file_again_does_nothing(ticks: Library, file: Callable[..., str]) -> None:
    path = file("1,ES,10")
    first = ticks.ingest(path, venue="X")
    again = ticks.ingest(file("1,ES,10", name="b.line"), venue="X")
    assert (first.again, again.again) == (False, True)
    assert (again.rows, again.stored, again.symbols) == (1, 1, ("ES",))
    assert prices(ticks) == [10]
    assert len(ticks.versions("ES", "trades")) == 1


def test_the_same_file_read_otherwise_is_refused(ticks: Library, file: Callable[..., str]) -> None:
    """With another zone, say: to do nothing would leave wrong times in silence."""
    path = file("1,ES,10")
    ticks.ingest(path, venue="X")
    with pytest.raises(tv.AlreadyExistsError, match=r"read with feed=line, venue=X, and now with feed=line, venue=Y"):
        ticks.ingest(path, venue="Y")


def test_equal_rows_are_all_kept(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("1,ES,10", "1,ES,10", "1,ES,10"), venue="X")
    ticks.ingest(file("1,ES,10", "2,ES,11", name="b.line"), venue="X")
    assert prices(ticks) == [10, 10, 10, 10, 11]


def test_files_that_overlap_come_in_the_order_of_time(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("2,ES,20", "4,ES,40"), venue="X")
    ticks.ingest(file("1,ES,10", "2,ES,21", "5,ES,50", name="b.line"), venue="X")
    assert prices(ticks) == [10, 20, 21, 40, 50]


def test_a_file_whose_clock_goes_back_keeps_its_order(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("2,ES,20", "1,ES,10", "3,ES,30"), venue="X")
    assert prices(ticks) == [20, 10, 30]
    assert prices(ticks, start=DAY + HOUR, end=DAY + 2 * HOUR) == [10]


def test_a_damaged_file_leaves_nothing(vault: tv.Vault, ticks: Library, file: Callable[..., str]) -> None:
    before = [info.key for info in vault["library-cme"].list()]
    with pytest.raises(tv.IntegrityError, match="cut off"):
        ticks.ingest(file("1,ES,10", "25,ES,11", "break"), venue="X")
    assert [info.key for info in vault["library-cme"].list()] == before
    with pytest.raises(tv.NotFoundError, match="there is no such series in library cme; cme has no ES"):
        prices(ticks)


def test_an_interrupted_ingest_is_taken_up_without_duplicates(
    ticks: Library, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file("1,ES,10", "1,NQ,20", "2,YM,30")
    commit = Catalog.commit

    def failing(self: Any, key: Any, change: Any) -> Any:
        if key.symbol == "NQ":
            raise KeyboardInterrupt
        return commit(self, key, change)

    monkeypatch.setattr(Catalog, "commit", failing)
    with pytest.raises(KeyboardInterrupt):
        ticks.ingest(path, venue="X")
    monkeypatch.setattr(Catalog, "commit", commit)
    report = ticks.ingest(path, venue="X")
    assert not report.again
    assert (prices(ticks), prices(ticks, "NQ"), prices(ticks, "YM")) == ([10], [20], [30])
    assert len(ticks.versions("ES", "trades")) == 1
    assert report.symbols == ("ES", "NQ", "YM")


def test_a_file_goes_in_again_after_its_rows_were_deleted(ticks: Library, file: Callable[..., str]) -> None:
    path = file("1,ES,10", "2,NQ,20")
    ticks.ingest(path, venue="X")
    with pytest.raises(tv.AlreadyExistsError, match="delete what it gave first"):
        ticks.ingest(path, venue="Y")
    ticks.delete("ES", "trades")
    assert prices(ticks) == []
    with pytest.raises(tv.AlreadyExistsError):
        ticks.ingest(path, venue="Y")
    assert not ticks.ingest(path, venue="X").again
    assert (prices(ticks), prices(ticks, "NQ")) == ([10], [20])
    ticks.delete("ES", "trades")
    ticks.delete("NQ", "trades")
    assert ticks.ingest(path, venue="Y").symbols == ("ES", "NQ")
    assert prices(ticks, venue="Y") == [10]
    assert ticks.ingest(path, venue="Y").again


def test_repeats_by_a_key_are_left_out_only_when_asked(ticks: Library, file: Callable[..., str]) -> None:
    first = ticks.ingest(file("1,ES,10", "2,ES,10", "3,ES,11", "3,NQ,10"), venue="X", unique="price")
    assert (first.rows, first.stored, first.dropped) == (4, 3, 1)
    assert (prices(ticks), prices(ticks, "NQ")) == ([10, 11], [10])
    second = ticks.ingest(file("4,ES,11", "5,ES,12", "6,ES,12", name="b.line"), venue="X", unique=["price"])
    assert (second.stored, second.dropped) == (1, 2)
    assert ticks.ingest(file("4,ES,11", "5,ES,12", "6,ES,12", name="b.line"), venue="X", unique="price").dropped == 2
    assert prices(ticks) == [10, 11, 12]
    third = ticks.ingest(file("4,ES,11", "5,ES,12", name="c.line"), venue="X")
    assert (third.stored, third.dropped) == (2, 0)
    assert prices(ticks) == [10, 11, 11, 12, 12]
    with pytest.raises(tv.InvalidInputError, match="the trades of ES have no column trade_id"):
        ticks.ingest(file("9,ES,1", name="d.line"), venue="X", unique="trade_id")


def test_a_file_whose_clock_goes_back_stays_in_order_beside_others(ticks: Library, file: Callable[..., str]) -> None:
    """Each file keeps its own order; where it goes back, its rows count as no earlier than those before them."""
    ticks.ingest(file("2,ES,20", "1,ES,10", "4,ES,40"), venue="X")
    ticks.ingest(file("1.5,ES,15", "3,ES,30", name="b.line"), venue="X")
    ticks.append("ES", "trades", {"ts_event": [DAY + HOUR], "price": [11]}, venue="X")
    assert prices(ticks) == [11, 15, 20, 10, 30, 40]
    ticks.compact()
    assert prices(ticks) == [11, 15, 20, 10, 30, 40]
    assert prices(ticks, start=DAY, end=DAY + 2 * HOUR) == [11, 15, 10]


def test_the_past_is_as_it_was(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("1,ES,10"), venue="X")
    ticks.ingest(file("2,ES,20", name="b.line"), venue="X")
    newest, oldest = ticks.versions("ES", "trades")
    assert prices(ticks, as_of=oldest.commit) == [10]
    assert prices(ticks, as_of=newest.commit) == [10, 20]
    assert prices(ticks, as_of=oldest.committed_ns) == [10]
    assert prices(ticks, as_of=oldest.commit - 1) == []
    assert ticks.stat("ES", "trades", as_of=oldest.commit).rows == 1


def test_compaction_changes_no_row(vault: tv.Vault, ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("2,ES,20", "4,ES,40", "25,ES,50"), venue="X")
    ticks.ingest(file("1,ES,10", "2,ES,21", "26,NQ,60", name="b.line"), venue="X")
    before = {symbol: ticks.read(symbol, "trades").to_polars() for symbol in ("ES", "NQ")}
    report = ticks.compact()
    assert (report.series, report.parts_before, report.parts_after, report.rows) == (2, 4, 3, 6)
    for symbol, frame in before.items():
        assert ticks.read(symbol, "trades").to_polars().equals(frame)
        assert vault.library("cme").read(symbol, "trades").to_polars().equals(frame)
    assert prices(ticks, start="2023-12-26T02:00", end="2023-12-26T04:00") == [20, 21]
    assert prices(ticks, columns=["price"]) == [10, 20, 21, 40, 50]
    again = ticks.compact()
    assert (again.parts_before, again.parts_after) == (0, 0)
    newest, *_, oldest = ticks.versions("ES", "trades")
    assert newest.operation == "compact"
    assert prices(ticks, as_of=oldest.commit) == [20, 40, 50]
    ticks.ingest(file("3,ES,30", name="c.line"), venue="X")
    assert prices(ticks) == [10, 20, 21, 30, 40, 50]
    assert ticks.compact().parts_before == 2
    assert prices(ticks) == [10, 20, 21, 30, 40, 50]
    assert ticks.ingest(file("3,ES,30", name="d.line"), venue="X").again


def test_compaction_keeps_the_order_of_a_clock_that_goes_back(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("2,ES,20", "1,ES,10", "3,ES,30"), venue="X")
    ticks.ingest(file("0,ES,5", name="b.line"), venue="X")
    before = prices(ticks)
    ticks.compact()
    assert prices(ticks) == before
    assert prices(ticks, start=DAY + HOUR, end=DAY + 2 * HOUR) == [10]


def test_what_comes_while_compaction_writes_is_not_lost(
    ticks: Library, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tickvault.market import compaction

    ticks.ingest(file("1,ES,10"), venue="X")
    write = compaction.write_cold

    def slow(*arguments: Any) -> Any:
        made = write(*arguments)
        ticks.ingest(file("2,ES,20", name="b.line"), venue="X")
        return made

    monkeypatch.setattr(compaction, "write_cold", slow)
    ticks.compact()
    assert prices(ticks) == [10, 20]


def test_several_symbols_come_in_the_order_of_time(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("1,ES,10", "3,ES,30", "2,NQ,20"), venue="X")
    table = ticks.read(["NQ", "ES"], "trades")
    assert table["price"].tolist() == [10, 20, 30]
    assert [table.strings("symbol")[code] for code in table["symbol"]] == ["ES", "NQ", "ES"]
    assert ticks.read(["NQ", "ES"], "trades", columns=["symbol", "price"]).columns == ("symbol", "price")


def test_a_symbol_at_two_venues_asks_which(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("1,ES,10"), venue="X")
    ticks.ingest(file("1,ES,20", name="b.line"), venue="Y")
    with pytest.raises(tv.InvalidInputError, match="it is traded at X, Y; say which with venue="):
        prices(ticks)
    assert prices(ticks, venue="Y") == [20]


def test_batches_give_all_rows(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file(*(f"{number},ES,{number}" for number in range(60))), venue="X")
    tables = list(ticks.batches("ES", "trades", rows=7))
    assert [price for table in tables for price in table["price"].tolist()] == list(range(60))
    assert max(map(len, tables)) == 7
    assert [len(table) for table in ticks.batches("ES", "trades", rows=100, end=DAY + 5 * HOUR)] == [5]


def test_only_the_columns_asked_for(ticks: Library, file: Callable[..., str]) -> None:
    ticks.ingest(file("1,ES,10"), venue="X")
    table = ticks.read("ES", "trades", columns=["price"])
    assert table.columns == ("price",)
    assert table.to_polars().columns == ["price"]
    with pytest.raises(tv.InvalidInputError, match="has no column 'prize'"):
        ticks.read("ES", "trades", columns=["prize"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ES", "ticks"), "there is no schema 'ticks'; the schemas are mbo, mbp-1"),
        (("ES", "mbo"), "of ES there is trades"),
        (("ES", "trades", "noon"), "start: 'noon' is no time"),
        (("ES", "trades", "2024-01-02", "2024-01-01"), "end 2024-01-01T00:00:00Z is before start"),
    ],
)
def test_what_cannot_be_read_is_told(
    ticks: Library, file: Callable[..., str], arguments: tuple[str, ...], told: str
) -> None:
    ticks.ingest(file("1,ES,10"), venue="X")
    with pytest.raises((tv.InvalidInputError, tv.NotFoundError), match=told):
        ticks.read(*arguments)


def test_what_a_file_does_not_say_is_asked_for(ticks: Library, file: Callable[..., str]) -> None:
    with pytest.raises(tv.InvalidInputError, match=r"a line names no venue; say it with venue= \(--venue\)"):
        ticks.ingest(file("1,ES,10"))


def test_libraries_are_made_once_and_listed(vault: tv.Vault) -> None:
    assert vault.libraries() == []
    vault.library("cme")
    vault.library("lean")
    vault.library("cme")
    assert vault.libraries() == ["cme", "lean"]


def test_a_newer_library_is_refused(vault: tv.Vault) -> None:
    import msgpack

    vault.library("cme")
    vault["library-cme"].put("library", msgpack.packb({"format": 99}))
    with tv.open(vault.path) as again, pytest.raises(tv.InvalidInputError, match="made by a newer release"):
        again.library("cme")


def test_a_session_and_a_continuous_future_are_read_by_the_calendar(ticks: Library) -> None:
    """GCV13 ends on 29 October 2013 at 12:30 in Chicago; the session of the 30th begins on the evening of the 29th."""
    for symbol, price in (("GCV13", 1), ("GCZ13", 2)):
        times = [to_ns(f"2013-10-{day}T{hour}") for day in (28, 29, 30) for hour in ("12:00", "22:30")]
        rows = {"ts_event": times, "price": np.arange(6) + 10 * price, "size": np.full(6, price)}
        ticks.append(symbol, "trades", rows, venue="GLBX")
    assert ticks.read("GCZ13", "trades", session="2013-10-30")["price"].tolist() == [23, 24]
    with pytest.raises(tv.InvalidInputError, match="give one of them"):
        ticks.read("GCZ13", "trades", "2013-10-29", session="2013-10-30")
    with pytest.raises(
        tv.InvalidInputError,
        match="that is no trading day of its calendar globex; the sessions next to it are 2013-11-01",
    ):
        ticks.read("GCZ13", "trades", session="2013-11-02")
    first = ticks.read("GC.c.0", "trades")
    assert [first.strings("symbol")[code] for code in first["symbol"]] == ["GCV13"] * 3 + ["GCZ13"] * 3
    assert first["price"].tolist() == [10, 11, 12, 23, 24, 25]
    by_volume = ticks.read("GC.v.0", "trades")
    assert set(by_volume.strings("symbol")) == {"GCZ13"}
    with pytest.raises(tv.NotFoundError, match="no trades of contracts of ES"):
        ticks.read("ES.c.0", "trades")


def test_bars_of_any_interval_are_kept(ticks: Library) -> None:
    times = DAY + np.arange(3_600) * 10**9
    trades = {"ts_event": times, "price": np.arange(3_600) * 10**9, "size": np.ones(3_600, np.int64)}
    ticks.append("ES", "trades", trades, venue="X")
    bars = tv.bars(ticks.read("ES", "trades"), "5m")
    ticks.write("ES", "ohlcv-5m", bars)
    ticks.compact()
    found = ticks.read("ES", "ohlcv-5m")
    assert (found.venue, found.schema.interval_ns) == ("X", 300 * 10**9)
    assert found["close"].tolist() == bars["close"].tolist() == [(300 * n + 299) * 10**9 for n in range(12)]
    assert ticks.stat("ES", "ohlcv-5m").partitions == 1
    with pytest.raises(tv.InvalidInputError, match="bars of other intervals"):
        ticks.read("ES", "ohlcv-0m")


def test_a_library_under_object_lock_is_not_pruned(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("library-kept", retention=("COMPLIANCE", 1))
        library = vault.library("kept")
        rows = {"ts_event": np.arange(50) * 10**9 + 1_700_000_000_000_000_000, "price": np.full(50, 10**9)}
        library.append("ES", "trades", {**rows, "size": np.full(50, 1)})
        library.compact()
        commit = library.versions("ES", "trades")[0].commit
        library.delete("ES", "trades")
        with pytest.raises(tv.LockedError, match="nothing can be given up"):
            library.prune()
        assert len(library.read("ES", "trades", as_of=commit)) == 50

"""Live rows: appended, read, subscribed to, moved into files of columns, by one process and by several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tickvault as tv
from tickvault.market import appending
from tickvault.market.journal import appender
from tickvault.market.library import Library
from tickvault.market.times import to_ns

DAY = to_ns("2023-12-26")
SECOND = 10**9


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[tv.Vault]:
    with tv.open(tmp_path / "data") as opened:
        opened.create_bucket("library-live", durability="relaxed")
        yield opened


@pytest.fixture
def ticks(vault: tv.Vault) -> Library:
    return vault.library("live")


def ids(ticks: Library, **named: Any) -> list[int]:
    return ticks.read("ES", "trades", **named)["trade_id"].tolist()


def made(*numbers: int) -> dict[str, Any]:
    return {"ts_event": [DAY + number * SECOND for number in numbers], "trade_id": list(numbers)}


def folder(vault: tv.Vault) -> Path:
    (found,) = (Path(vault.path) / "journals").glob("*/LOCAL+ES+trades")
    return found


def test_rows_are_read_as_soon_as_they_are_appended(ticks: Library) -> None:
    first = ticks.append("ES", "trades", made(1, 2))
    second = ticks.append("ES", "trades", made(3))
    assert (first.sequence, first.rows, second.sequence) == (0, 2, 2)
    assert second.ts_commit > first.ts_commit
    assert ids(ticks) == [1, 2, 3]
    assert ids(ticks, as_of=first.ts_commit) == [1, 2]
    assert ticks.symbols() == ["ES"]
    stat = ticks.stat("ES", "trades")
    assert (stat.rows, stat.live_rows, stat.parts, stat.versions) == (3, 3, 0, 0)
    assert stat.venue == "LOCAL"


def test_appends_make_no_version_and_no_file_each(vault: tv.Vault, ticks: Library) -> None:
    for number in range(500):
        ticks.append("ES", "trades", made(number))
    assert ticks.versions("ES", "trades") == []
    assert len(list(folder(vault).glob("*.journal"))) == 1
    assert ids(ticks) == list(range(500))


def test_late_rows_are_put_where_their_time_belongs(ticks: Library) -> None:
    ticks.append("ES", "trades", made(5, 1))
    ticks.append("ES", "trades", made(3))
    assert ids(ticks) == [1, 3, 5]
    ticks.compact()
    ticks.append("ES", "trades", made(2, 4))
    assert ids(ticks) == [1, 2, 3, 4, 5]
    ticks.compact(tier="warm")
    assert ids(ticks) == [1, 2, 3, 4, 5]


def test_texts_prices_and_sizes_of_many_shapes(ticks: Library) -> None:
    frame = pl.DataFrame(
        {
            "ts_event": pl.Series([DAY, DAY + 1], dtype=pl.Datetime("ns", "UTC")),
            "price": [16.59, None],
            "size": [0.25, 3.0],
            "side": ["B", None],
            "exchange": ["Q", "P"],
        }
    )
    ticks.append("ES", "trades", frame)
    ticks.append("ES", "trades", frame.to_pandas())
    ticks.append("ES", "trades", frame.to_arrow())
    table = ticks.read("ES", "trades")
    assert table.size_scale == 100
    assert table["price"].tolist() == [16_590_000_000] * 3 + [2**63 - 1] * 3
    assert table["size"].tolist() == [25] * 3 + [300] * 3
    assert table["side"].tolist() == [ord("B")] * 3 + [0] * 3
    assert [table.strings("exchange")[code] for code in table["exchange"]] == ["Q"] * 3 + ["P"] * 3


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"ts_event": [1], "prize": [1]}, "trades has no column 'prize'"),
        ({"price": [1.0]}, "rows need ts_event or ts_recv"),
        ({"ts_event": [1], "size": [0.1234567891]}, "more than 8 digits"),
        ({"ts_event": [1], "price": [float("inf")]}, "infinite"),
        ({"ts_event": [1], "price": [1e15]}, "does not fit"),
        ({"ts_event": [1], "side": ["Buy"]}, "no single letter"),
        ({"ts_event": [1, 2], "price": [1.0]}, "different lengths"),
        ({"ts_event": [1], "instrument_id": [-1]}, "does not fit uint32"),
        ({"ts_event": ["noon"]}, "is no time"),
        ({"ts_event": [1], "exchange": [5]}, "must be text"),
        ({"ts_event": [1], "exchange": ["\ud800"]}, "is no text"),
        ({"ts_event": []}, "there are no rows"),
        ([1, 2], "rows are a Table"),
        ({"ts_event": np.array(["2300-01-01"], "M8[us]")}, "no time from 1677 to 2262"),
        ({"ts_event": np.array(["1500-01-01"], "M8[D]")}, "no time from 1677 to 2262"),
        ({"ts_event": [1], "price": [True]}, "truth values"),
        ({"ts_event": [1], "price": [[1.0, 2.0]]}, "2 dimensions"),
        ({"ts_event": 1, "price": 1.0}, "is one value"),
        ({"ts_event": [1], "size": [2**70]}, "beyond 64 bits"),
        ({"ts_event": [1], "price": [Decimal("Infinity")]}, "not finite"),
        (pd.DataFrame([[1, 2, 3]], columns=["ts_event", "price", "price"]), "two columns are named 'price'"),
        (pl.DataFrame({"ts_event": [1], "price": [[1.0]]}), "one value a row"),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(ticks: Library, rows: Any, told: str) -> None:
    ticks.append("ES", "trades", made(1))
    with pytest.raises(tv.InvalidInputError, match=told):
        ticks.append("ES", "trades", rows)
    assert ids(ticks) == [1]


def test_integers_beside_nulls_stay_integers(ticks: Library) -> None:
    """A frame turned an integer column with one null into floats, and its prices were read as 10**9 times as high."""
    raw = [1_500_000_000, None, 2**60 + 1]
    columns = {"ts_event": [DAY, DAY + 1, DAY + 2], "price": raw, "size": raw}
    for number, rows in enumerate((columns, pl.DataFrame(columns), pl.DataFrame(columns).to_arrow())):
        ticks.append(f"S{number}", "trades", rows)
    masked = np.ma.array([1_500_000_000, 7, 2**60 + 1], mask=[0, 1, 0])
    ticks.append("S3", "trades", {"ts_event": columns["ts_event"], "price": masked, "size": masked})
    nullable = pd.DataFrame(
        {"ts_event": columns["ts_event"], "price": pd.array(raw, "Int64"), "size": pd.array(raw, "Int64")}
    )
    ticks.append("S4", "trades", nullable)
    for number in range(5):
        found = ticks.read(f"S{number}", "trades")
        assert found["price"].tolist() == found["size"].tolist() == [1_500_000_000, 2**63 - 1, 2**60 + 1]


def test_integers_of_a_frame_are_in_the_units_of_the_series(ticks: Library) -> None:
    """A frame does not say its scale: sizes of a series of scale 10**8 came back 10**8 times as large."""
    ticks.append("BTC", "trades", {"ts_event": [DAY], "size": [0.02]}, size_scale=10**8)
    stored = ticks.read("BTC", "trades").to_polars(prices="int")
    ticks.append("BTC", "trades", stored.with_columns(ts_event=pl.col("ts_event") + pl.duration(seconds=1)))
    assert ticks.read("BTC", "trades").to_polars()["size"].to_list() == [0.02, 0.02]
    ticks.append("BTC", "trades", {"ts_event": [DAY + 2 * SECOND], "size": [3]}, size_scale=1)
    assert ticks.read("BTC", "trades").to_polars()["size"].to_list() == [0.02, 0.02, 3.0]


def test_what_comes_out_goes_back_in_as_it_was(ticks: Library) -> None:
    """Arrow's integers lost their scale, and pandas made floats of integers beside a null."""
    big = 2**63 - 7
    with ticks.writer("A", "trades", size_scale=10**8) as writer:
        writer.append(ts_event=DAY, price=None, size=2_000_000, trade_id=big, side="B", exchange="Q")
        writer.append(ts_event=DAY + 1, price=1.5, size=None, trade_id=None, side=None, exchange=None)
    table = ticks.read("A", "trades")
    shapes = (table, table.to_arrow(), table.to_pandas(), table.to_pandas(prices="int"), table.to_polars())
    for number, rows in enumerate(shapes):
        scale = {"size_scale": 10**8} if number == 3 else {}
        ticks.append(f"B{number}", "trades", rows, venue="X", **scale)  # type: ignore[arg-type]
        found = ticks.read(f"B{number}", "trades")
        assert found.to_arrow(prices="float").equals(table.to_arrow(prices="float"), check_metadata=False)
    assert table.to_pandas()["trade_id"].tolist() == [big, pd.NA]


@pytest.mark.parametrize("scale", [0, -10, 7, 10**13])
def test_scales_are_powers_of_ten(ticks: Library, scale: int) -> None:
    with pytest.raises(tv.InvalidInputError, match="must be a power of ten"):
        ticks.writer("ES", "trades", size_scale=scale)
    with pytest.raises(tv.InvalidInputError, match="must be a power of ten"):
        ticks.append("ES", "trades", made(1), size_scale=scale)


def test_rows_that_could_not_be_read_beside_each_other_are_refused(ticks: Library) -> None:
    """Both were stored, and no read or compaction of the series worked after that."""
    ticks.append("PEPE", "trades", {"ts_event": [DAY], "size": [0.12345678]})
    with pytest.raises(tv.InvalidInputError, match="does not fit the series, whose size_scale is 100,000,000"):
        ticks.append("PEPE", "trades", {"ts_event": [DAY + 1], "size": [2 * 10**12]}, size_scale=1)
    ticks.append("SHIB", "trades", {"ts_event": [DAY], "size": [2 * 10**12]})
    for compacted in (False, True):
        with pytest.raises(tv.InvalidInputError, match="is too fine for the series"):
            ticks.append("SHIB", "trades", {"ts_event": [DAY + 1], "size": [0.12345678]})
        with pytest.raises(tv.InvalidInputError, match="is too fine for the series"):
            ticks.writer("SHIB", "trades", size_scale=10**8)
        if not compacted:
            ticks.compact()
    ticks.append("SHIB", "trades", {"ts_event": [DAY + 1], "size": [2.5]})
    assert ticks.read("SHIB", "trades").to_polars()["size"].to_list() == [2e12, 2.5]


def test_writers_of_different_scales_do_not_make_a_series_unreadable(ticks: Library) -> None:
    """Each was checked when it was made, while the series was empty."""
    coarse, fine = (ticks.writer("ES", "trades", size_scale=scale) for scale in (1, 10**8))
    coarse.append(ts_event=DAY, size=10**12)
    with pytest.raises(tv.InvalidInputError, match="is too fine for the series"):
        fine.append(ts_event=DAY, size=0.5)
    coarse, fine = (ticks.writer("NQ", "trades", size_scale=scale) for scale in (1, 10**8))
    coarse.append(ts_event=DAY, size=1)
    fine.append(ts_event=DAY, size=0.5)
    with pytest.raises(tv.InvalidInputError, match="does not fit the series"):
        coarse.append(ts_event=DAY, size=10**12)
    coarse.append(ts_event=DAY, size=2)
    with pytest.raises(tv.InvalidInputError, match="does not fit the series"):
        ticks.append("NQ", "trades", {"ts_event": [DAY], "size": [10**12]}, size_scale=1)
    assert ticks.read("NQ", "trades").to_polars()["size"].to_list() == [1.0, 0.5, 2.0]


def test_integers_mean_the_same_whoever_appended_last(vault: tv.Vault, ticks: Library) -> None:
    with tv.open(vault.path) as other:
        theirs = Library.open(other["library-live"], "live", ticks._journals.place)  # type: ignore[union-attr]
        ticks.append("ES", "trades", {"ts_event": [DAY], "size": [1]})
        theirs.append("ES", "trades", {"ts_event": [DAY], "size": [1e-8]})
        ticks.append("ES", "trades", {"ts_event": [DAY], "size": [5]})
        theirs.append("ES", "trades", {"ts_event": [DAY], "size": [5]})
        theirs.close()
    assert ticks.read("ES", "trades").to_polars()["size"].to_list() == [1.0, 1e-8, 5e-8, 5e-8]


def test_an_extension_has_one_kind_in_a_series(ticks: Library) -> None:
    ticks.append("E", "trades", {"ts_event": [DAY], "x": [1]}, extensions={"x": "price"})
    for library in (ticks, None):
        if library is None:
            ticks.compact()
            ticks._appending._extensions.clear()
        with pytest.raises(tv.InvalidInputError, match="column x is of kind price in the series, and int here"):
            ticks.append("E", "trades", {"ts_event": [DAY], "x": [1]}, extensions={"x": "int"})
        with ticks.writer("E", "trades", extensions={"x": "code"}) as writer, pytest.raises(tv.InvalidInputError):
            writer.append(ts_event=DAY, x="a")
    assert len(ticks.read("E", "trades")) == 1


def test_numbers_that_could_mean_two_things_are_refused_and_others_are_exact(ticks: Library) -> None:
    with pytest.raises(tv.InvalidInputError, match="mixes integers"):
        ticks.append("A", "trades", {"ts_event": [DAY, DAY], "price": [100, 100.5]})
    ticks.append(
        "A", "trades", {"ts_event": [DAY] * 3, "size": [10**18 + 1, float("nan"), 3], "trade_id": [2**53 + 1, None, 1]}
    )
    assert ticks.read("A", "trades")["size"].tolist() == [10**18 + 1, 2**63 - 1, 3]
    assert ticks.read("A", "trades")["trade_id"].tolist()[0] == 2**53 + 1
    narrow = np.array([16.59, 0.1], np.float32)
    for number, rows in enumerate((narrow, pl.Series(narrow), pd.Series(narrow))):
        ticks.append(
            f"F{number}",
            "trades",
            pl.DataFrame({"ts_event": [DAY, DAY], "price": rows})
            if number == 1
            else {"ts_event": [DAY, DAY], "price": rows},
        )
        assert ticks.read(f"F{number}", "trades")["price"].tolist() == [16_590_000_000, 100_000_000]


def test_a_table_of_some_columns_keeps_its_times(ticks: Library) -> None:
    ticks.append("A", "trades", {"ts_recv": [DAY, DAY + 1], "size": [1, 2]})
    ticks.append("B", "trades", ticks.read("A", "trades", columns=["size"]))
    assert ticks.read("B", "trades")["ts_index"].tolist() == [DAY, DAY + 1]


def test_what_a_read_adds_is_not_stored(ticks: Library) -> None:
    """Rows of several symbols went into one series, with a column of their own that said whose they were."""
    for symbol in ("A", "B"):
        ticks.append(symbol, "trades", made(1))
    for table in (
        ticks.read(["A", "B"], "trades"),
        ticks.read("A", "trades", columns=["ts_event", "trade_id", "ts_commit"]),
    ):
        with pytest.raises(tv.InvalidInputError, match="read one series at a time"):
            ticks.append("C", "trades", table)
        with pytest.raises(tv.InvalidInputError, match="read one series at a time"):
            ticks.write("C", "trades", table)
    assert ticks.symbols() == ["A", "B"]


def test_batches_are_of_one_version(ticks: Library) -> None:
    day = 86_400
    ticks.append("ES", "trades", made(0, day, 2 * day))
    ticks.compact()
    batches = ticks.batches("ES", "trades")
    found = next(batches)["trade_id"].tolist()
    ticks.write("ES", "trades", made(2 * day + 9))
    assert found + [each for table in batches for each in table["trade_id"].tolist()] == [0, day, 2 * day]


def interrupted(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, work: Any) -> None:
    """Let Ctrl-C come when a function is entered."""
    with monkeypatch.context() as patch:

        def strike(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        patch.setattr(where, name, strike)
        with pytest.raises(KeyboardInterrupt):
            work()


def test_an_interrupt_in_a_read_makes_no_row_vanish(
    vault: tv.Vault, ticks: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were counted and not taken in were gone from reads, and the next compaction deleted them."""
    from tickvault.market.journal.file import JournalFile

    ticks.append("ES", "trades", made(1, 2, 3))
    for known in (False, True):
        if known:
            ids(ticks)
        ticks.append("ES", "trades", made(4 + known))
        interrupted(monkeypatch, JournalFile, "_take", lambda: ids(ticks))
    ticks.append("ES", "trades", made(6))
    assert ids(ticks) == [1, 2, 3, 4, 5, 6]
    ticks.compact()
    with tv.open(vault.path) as again:
        assert ids(again.library("live")) == [1, 2, 3, 4, 5, 6]


def test_an_interrupt_in_an_append_gives_no_row_the_text_of_another(
    ticks: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tickvault.market.journal.appender import SeriesJournal

    def append(word: str) -> None:
        ticks.append("ES", "trades", {"ts_event": [DAY], "conditions": [word]})

    append("a")
    interrupted(monkeypatch, SeriesJournal, "_learn", lambda: append("b"))
    append("c")
    append("d")
    table = ticks.read("ES", "trades")
    assert list(table.texts("conditions")) == ["a", "b", "c", "d"]


def test_an_interrupt_after_the_commit_of_a_change_keeps_its_rows(
    ticks: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tickvault.market.journal.locked import Locked

    ticks.append("ES", "trades", made(1, 2))
    commit = ticks._catalog.commit

    def late(*arguments: Any) -> Any:
        commit(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ticks._catalog, "commit", late)
        patch.setattr(Locked, "roll", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            ticks.write("ES", "trades", made(9))
    assert 9 in ids(ticks)


@pytest.mark.parametrize("name", ["_ts_commit", "ts_index", "ts_commit", "symbol", "price", ""])
def test_extensions_have_names_of_their_own(ticks: Library, name: str) -> None:
    with pytest.raises(tv.InvalidInputError, match="an extension cannot be named"):
        ticks.append("ES", "trades", {**made(1), name: [1]}, extensions={name: "int"})
    with pytest.raises(tv.InvalidInputError, match="an extension cannot be named"):
        ticks.writer("ES", "trades", extensions={name: "int"})


@pytest.mark.parametrize("symbol", [5, None, "", "\ud800"])
def test_symbols_are_text(ticks: Library, symbol: Any) -> None:
    with pytest.raises(tv.InvalidInputError, match="symbol"):
        ticks.append(symbol, "trades", made(1))
    with pytest.raises((tv.InvalidInputError, tv.NotFoundError)):
        ticks.read(symbol, "trades")


@pytest.mark.parametrize(
    "moment", [np.datetime64("2300-01-01"), np.datetime64("NaT"), pd.NaT, "2300-01-01", 2**63, True]
)
def test_what_is_no_time_bounds_nothing(ticks: Library, moment: Any) -> None:
    """numpy wrapped the year 2300 to 1715, and NaT was minus infinity: a delete of nothing deleted everything."""
    ticks.append("ES", "trades", made(1, 2, 3))
    for call in (
        lambda: ticks.delete("ES", "trades", moment),
        lambda: ticks.delete("ES", "trades", None, moment),
        lambda: ticks.read("ES", "trades", moment),
        lambda: ticks.read("ES", "trades", as_of=moment),
        lambda: ticks.read("ES", "trades", known_at=moment),
        lambda: ticks.correct("ES", "trades", {"trade_id": [1], "price": [1.0]}, "trade_id", published=moment),
    ):
        with pytest.raises(tv.InvalidInputError, match=r"no time"):
            call()
    assert ids(ticks) == [1, 2, 3]


def test_a_writer_takes_rows_one_by_one(ticks: Library) -> None:
    with ticks.writer("ES", "trades", extensions={"spread": "price"}) as writer:
        assert writer.append(ts_event=DAY, trade_id=1, price=4750.25, side="B", exchange="Q", spread=0.25).sequence == 0
        writer.append(ts_event=DAY + 1, trade_id=2, price=4750_500_000_000, side=ord("A"), exchange=None)
        writer.append(ts_event=DAY + 2, trade_id=3, price=None, side="B", exchange="P")
        writer.append(made(3))
        for call in (
            {"trade_id": 1},
            {"ts_event": DAY, "prize": 1},
            {"ts_event": DAY, "side": "Buy"},
            {"ts_event": DAY, "trade_id": -1},
            {"ts_event": DAY, "size": 0.5},
            {"ts_event": DAY, "price": float("inf")},
            {"ts_event": np.datetime64("3000-01-01", "s")},
            {"ts_event": DAY, "exchange": 7},
        ):
            with pytest.raises(tv.InvalidInputError):
                writer.append(**call)  # type: ignore[arg-type]
        for call in ({"ts_event": DAY, "trade_id": 5, "side": "B"}, {"ts_event": DAY, "trade_id": -1, "side": "B"}):
            try:
                writer.append(**call)
            except tv.InvalidInputError:
                assert call["trade_id"] == -1
    with pytest.raises(tv.ClosedError, match="the writer was closed"):
        writer.append(ts_event=DAY)
    with pytest.raises(tv.ClosedError, match="the writer was closed"):
        writer.append({"ts_event": np.array([DAY])})
    table = ticks.read("ES", "trades")
    assert table["trade_id"].tolist() == [1, 5, 2, 3, 3]
    assert table["price"].tolist()[:3] == [4750_250_000_000, 2**63 - 1, 4750_500_000_000]
    assert table["spread"].tolist()[0] == 250_000_000


def test_full_files_become_parts_and_are_unlinked(
    vault: tv.Vault, ticks: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "SIZE_FIRST", 8192)
    monkeypatch.setattr(appender, "SIZE_MAX", 16_384)
    for number in range(0, 2000, 20):
        ticks.append("ES", "trades", made(*range(number, number + 20)))
        assert ticks.stat("ES", "trades").rows == number + 20
    ticks.close()
    assert len(list(folder(vault).glob("*.journal"))) == 1
    assert ids(ticks) == list(range(2000))
    stat = ticks.stat("ES", "trades")
    assert stat.parts > 1
    assert 0 < stat.live_rows < 2000
    assert {version.operation for version in ticks.versions("ES", "trades")} == {"journal"}


def test_many_rows_at_once_become_a_file_and_keep_the_numbering(
    ticks: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "BULK_SIZE", 1000)
    subscription = ticks.subscribe("ES", "trades")
    assert ticks.append("ES", "trades", made(1)).sequence == 0
    assert ticks.append("ES", "trades", made(*range(2, 500))).sequence == 1
    assert ticks.append("ES", "trades", made(500)).sequence == 499
    assert [version.operation for version in ticks.versions("ES", "trades")] == ["append"]
    assert ids(ticks) == list(range(1, 501))
    found: list[int] = []
    while (table := subscription.get(timeout=0)) is not None:
        assert table.sequence == len(found)
        found += table["trade_id"].tolist()
    assert found == list(range(1, 501))


@pytest.mark.parametrize("died", ["before the commit", "after the commit"])
def test_a_kill_while_many_rows_are_appended_neither_loses_nor_doubles_a_number(
    vault: tv.Vault, ticks: Library, monkeypatch: pytest.MonkeyPatch, died: str
) -> None:
    from tickvault.market.catalog import Catalog

    ticks.append("ES", "trades", made(1))
    monkeypatch.setattr(appending, "BULK_SIZE", 1000)
    commit = Catalog.commit

    def killed(self: Catalog, *arguments: Any) -> Any:
        if died == "after the commit":
            commit(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            ticks.append("ES", "trades", made(*range(2, 500)))
    there = [1, *range(2, 500)] if died == "after the commit" else [1]
    assert ids(ticks) == there
    assert ticks.append("ES", "trades", made(500)).sequence == len(there)
    assert ids(ticks) == [*there, 500]
    subscription = ticks.subscribe("ES", "trades", from_sequence=0)
    found: list[int] = []
    while (table := subscription.get(timeout=0)) is not None:
        assert table.sequence == len(found)
        found += table["trade_id"].tolist()
    assert found == [*there, 500]


def test_a_subscriber_goes_on_where_it_stopped_wherever_the_rows_lie(ticks: Library) -> None:
    for number in range(10):
        ticks.append("ES", "trades", made(number))
    ticks.compact(tier="warm")
    for number in range(10, 15):
        ticks.append("ES", "trades", made(number))
    ticks.compact()
    ticks.append("ES", "trades", made(15, 16))
    ticks.bust("ES", "trades", {"trade_id": 3})
    for start in (0, 4, 12, 16):
        subscription = ticks.subscribe("ES", "trades", from_sequence=start)
        found: list[int] = []
        while (table := subscription.get(timeout=0)) is not None:
            assert table.sequence == start + len(found)
            found += table["trade_id"].tolist()
        assert found == list(range(start, 17))
    assert ticks.subscribe("ES", "trades").get(timeout=0) is None


def test_a_closed_subscription_ends(ticks: Library) -> None:
    subscription = ticks.subscribe("ES", "trades")
    threading.Timer(0.2, subscription.close).start()
    assert list(subscription) == []
    with pytest.raises(tv.ClosedError):
        subscription.get()


SUBSCRIBER = """
    import sys, tickvault as tv
    with tv.open(sys.argv[1]) as vault:
        with vault.library("live").subscribe("ES", "trades", from_sequence=0) as rows:
            print("ready", flush=True)
            seen = 0
            while seen < int(sys.argv[2]):
                table = rows.get(timeout=30)
                assert table is not None and table.sequence == seen, (table, seen)
                seen += len(table)
                print(*table["trade_id"].tolist(), sep="\\n", flush=True)
"""
APPENDER = """
    import sys, tickvault as tv
    first, count = int(sys.argv[2]), int(sys.argv[3])
    with tv.open(sys.argv[1]) as vault:
        ticks = vault.library("live")
        writer = ticks.writer("ES", "trades")
        for number in range(first, first + count):
            if number % 7:
                made = writer.append(ts_event=number, trade_id=number, exchange=f"x{number % 3}")
            else:
                made = ticks.append("ES", "trades", {"ts_event": [number], "trade_id": [number], "price": [1.5]})
            print(made.sequence, number, flush=True)
"""


def started(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_append_and_another_subscribes(vault: tv.Vault, ticks: Library) -> None:
    subscriber = started(SUBSCRIBER, vault.path, 600)
    assert subscriber.stdout is not None
    assert subscriber.stdout.readline() == "ready\n"
    writers = [started(APPENDER, vault.path, first, 200) for first in (0, 1000, 2000)]
    told: dict[int, int] = {}
    for writer in writers:
        for line in writer.communicate(timeout=60)[0].splitlines():
            sequence, number = map(int, line.split())
            assert told.setdefault(sequence, number) == number
        assert writer.returncode == 0
    seen = [int(line) for line in subscriber.communicate(timeout=60)[0].split()]
    assert subscriber.returncode == 0
    assert seen == [told[sequence] for sequence in range(600)]
    table = ticks.read("ES", "trades")
    assert table["trade_id"].tolist() == sorted(told.values())
    words = table.strings("exchange")
    assert all(
        code < 0 or words[code] == f"x{number % 3}"
        for code, number in zip(table["exchange"], table["trade_id"], strict=True)
    )


def test_a_killed_appender_loses_nothing_that_it_was_told(vault: tv.Vault, ticks: Library) -> None:
    vault["library-live"].set_durability("strict")
    told: dict[int, int] = {}
    for round_ in range(6):
        writer = started(APPENDER, vault.path, 100_000 * (round_ + 1), 50_000)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(1 + 5 * round_)]
        time.sleep(0.01 * round_)
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        for line in lines:
            # The last one may be cut off.
            if line.endswith("\n"):
                words = line.split()
                told[int(words[0])] = int(words[1])
        if round_ == 3:
            ticks.compact()
        ticks.append("ES", "trades", made(round_))
    found = ids(ticks)
    assert set(told.values()) <= set(found)
    assert len(found) == len(set(found))
    subscription = ticks.subscribe("ES", "trades", from_sequence=0)
    given: dict[int, int] = {}
    while (table := subscription.get(timeout=0)) is not None:
        assert table.sequence is not None
        given |= {table.sequence + place: each for place, each in enumerate(table["trade_id"].tolist())}
    assert {sequence: given.get(sequence) for sequence in told} == told


def test_a_forked_child_appends_beside_its_parent(vault: tv.Vault, ticks: Library) -> None:
    ticks.append("ES", "trades", made(0))
    child = os.fork()
    if not child:
        status = 1
        try:
            for number in range(1000, 1100):
                ticks.append("ES", "trades", made(number))
            status = 0
        finally:
            os._exit(status)
    for number in range(1, 100):
        ticks.append("ES", "trades", made(number))
    assert os.waitpid(child, 0)[1] == 0
    assert ids(ticks) == [*range(100), *range(1000, 1100)]


def test_a_child_forked_while_threads_append_is_not_held_up(ticks: Library) -> None:
    """A lock that a thread of the parent held at the fork would stay locked in the child for ever."""
    stop = threading.Event()

    def work(first: int) -> None:
        number = first
        while not stop.is_set():
            ticks.append("ES", "trades", made(number))
            ids(ticks)
            number += 1

    threads = [threading.Thread(target=work, args=(10_000 * (place + 1),)) for place in range(3)]
    for thread in threads:
        thread.start()
    statuses = []
    for number in range(5):
        child = os.fork()
        if not child:
            signal.alarm(20)
            status = 1
            try:
                ticks.append("ES", "trades", made(number))
                status = 0 if number in ids(ticks) else 2
            finally:
                os._exit(status)
        statuses.append(os.waitpid(child, 0)[1])
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 5
    assert set(range(5)) <= set(ids(ticks))


def test_a_reader_goes_on_while_its_file_is_compacted(ticks: Library) -> None:
    ticks.append("ES", "trades", made(*range(1000)))
    held = ticks.read("ES", "trades")
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                found = ids(ticks)
                if found != list(range(1000)):
                    wrong.append(found)
            except Exception as error:
                wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        ticks.compact(tier="warm")
        ticks.append("ES", "trades", made(10))
        ticks.bust("ES", "trades", {"trade_id": 10})
        ticks.write("ES", "trades", made(*range(1000)))
        ticks.compact()
    stop.set()
    reader.join()
    assert [
        each for each in wrong if not (isinstance(each, list) and sorted(set(each) | {10}) == list(range(1000)))
    ] == []
    assert held["trade_id"].tolist() == list(range(1000))


def test_changes_beside_compactions_do_not_speak_of_backups(vault: tv.Vault, ticks: Library) -> None:
    """A correction that met a part that a compaction had just replaced told people to restore a backup."""
    ticks.append("ES", "trades", made(*range(200)))
    stop = threading.Event()
    wrong: list[Exception] = []

    def repeat(what: Any) -> None:
        with tv.open(vault.path) as own:
            mine = Library.open(own["library-live"], "live", ticks._journals.place)  # type: ignore[union-attr]
            number = 0
            while not stop.is_set():
                try:
                    what(mine, number)
                except Exception as error:
                    wrong.append(error)
                number += 1
            mine.close()

    works = (
        lambda mine, number: mine.compact(tier=("warm", "cold")[number % 2]),
        lambda mine, number: mine.compact(tier="cold"),
        lambda mine, number: mine.correct("ES", "trades", {"trade_id": [number % 200], "price": [1.0]}, "trade_id"),
        lambda mine, number: mine.update("ES", "trades", made(5), DAY + 5 * SECOND, DAY + 5 * SECOND + 1),
    )
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    time.sleep(4)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ids(ticks) == list(range(200))


def test_one_series_that_cannot_be_read_does_not_keep_the_others_from_being_compacted(
    vault: tv.Vault, ticks: Library
) -> None:
    for symbol in ("A", "B"):
        ticks.append(symbol, "trades", made(*range(100)))
    (file,) = (Path(vault.path) / "journals").rglob("LOCAL+A+trades/*.journal")
    data = bytearray(file.read_bytes())
    data[4096 + 400] ^= 1
    file.write_bytes(data)
    report = ticks.compact()
    assert [str(key) for key, _ in report.failed] == ["LOCAL/A/trades"]
    assert report.rows == 100
    assert ids_of(ticks, "B") == list(range(100))


def ids_of(ticks: Library, symbol: str) -> list[int]:
    return ticks.read(symbol, "trades")["trade_id"].tolist()


def test_a_backup_holds_the_live_rows(vault: tv.Vault, ticks: Library, tmp_path: Path) -> None:
    ticks.append("ES", "trades", made(1, 2))
    ticks.compact()
    ticks.append("ES", "trades", made(3))
    vault.backup(tmp_path / "backup")
    ticks.append("ES", "trades", made(4))
    vault.backup(tmp_path / "backup")
    ticks.append("ES", "trades", made(5))
    tv.restore(tmp_path / "backup", tmp_path / "again")
    with tv.open(tmp_path / "again") as restored:
        again = restored.library("live")
        assert ids(again) == [1, 2, 3, 4]
        assert again.append("ES", "trades", made(6)).sequence == 4
        assert ids(again) == [1, 2, 3, 4, 6]


def test_a_damaged_journal_is_told_and_the_rest_is_read(vault: tv.Vault, ticks: Library) -> None:
    ticks.append("ES", "trades", made(*range(100)))
    ticks.append("NQ", "trades", made(1))
    (file,) = folder(vault).glob("*.journal")
    vault.close()
    data = bytearray(file.read_bytes())
    data[4096 + 400] ^= 1
    file.write_bytes(data)
    with tv.open(vault.path) as again:
        with pytest.raises(tv.IntegrityError, match="were acknowledged"):
            ids(again.library("live"))
        assert len(again.library("live").read("NQ", "trades")) == 1


def test_a_process_may_have_more_live_series_than_files(vault: tv.Vault, ticks: Library) -> None:
    """Each series kept eight descriptors open, so that a process ended at its 202nd."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    already = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(already + 330, hard), hard))
    try:
        symbols = [f"S{number:03d}" for number in range(150)]
        writers = [ticks.writer(symbol, "trades") for symbol in symbols]
        for round_ in range(2):
            for writer in writers:
                writer.append(ts_event=DAY + round_, trade_id=round_)
        assert len(ticks.read(symbols, "trades")) == 300
        assert ticks.compact(tier="warm").failed == ()
        stats = [ticks.stat(symbol, "trades") for symbol in symbols]
        assert [(stat.rows, stat.live_rows, stat.parts) for stat in stats] == [(2, 0, 1)] * 150
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_writer_of_a_closed_vault_says_so(vault: tv.Vault, ticks: Library) -> None:
    writer = ticks.writer("ES", "trades")
    writer.append(ts_event=DAY)
    vault.close()
    with pytest.raises(tv.ClosedError, match="was closed; open it again"):
        writer.append(ts_event=DAY)


def reboot(vault: tv.Vault) -> None:
    """Let the machine forget what it held in memory."""
    vault.close()
    (folder(vault) / "state").unlink()


def test_damage_is_told_after_a_boot_too_and_nothing_is_written_over_it(vault: tv.Vault, ticks: Library) -> None:
    """The frames behind a flipped byte were taken for the torn end of a power cut: rows vanished unsaid."""
    vault["library-live"].set_durability("strict")
    for number in range(50):
        ticks.append("ES", "trades", made(number))
    (file,) = folder(vault).glob("*.journal")
    reboot(vault)
    data = bytearray(file.read_bytes())
    data[4096 + 1500] ^= 1
    file.write_bytes(data)
    with tv.open(vault.path) as again:
        with pytest.raises(tv.IntegrityError, match="is damaged, and sound ones follow"):
            ids(again.library("live"))
        assert not again.verify().sound
        assert again.library("live").append("ES", "trades", made(50)).sequence == 50
        with pytest.raises(tv.IntegrityError, match="is damaged, and sound ones follow"):
            ids(again.library("live"))
        assert not again.verify().sound
        file.rename(file.with_suffix(".broken"))
        assert ids(again.library("live")) == [50]
        assert again.verify().sound


def test_a_torn_first_append_gives_up_its_file_and_not_its_rows(vault: tv.Vault, ticks: Library) -> None:
    """The next file had the same name, and rows went on to the one that it replaced."""
    ticks.append("ES", "trades", made(0))
    (file,) = folder(vault).glob("*.journal")
    reboot(vault)
    data = bytearray(file.read_bytes())
    data[data.rfind(b"TFRM") :] = bytes(len(data) - data.rfind(b"TFRM"))
    file.write_bytes(data)
    with tv.open(vault.path) as again:
        assert ids(again.library("live")) == []
        assert [again.library("live").append("ES", "trades", made(number)).sequence for number in (1, 2)] == [1, 2]
        assert ids(again.library("live")) == [1, 2]
    with tv.open(vault.path) as again:
        assert ids(again.library("live")) == [1, 2]
        subscription = again.library("live").subscribe("ES", "trades", from_sequence=0)
        table = subscription.get(timeout=0)
        assert table is not None
        assert (table.sequence, table["trade_id"].tolist()) == (1, [1, 2])
        assert again.verify().sound


def test_a_journal_that_is_gone_is_told(vault: tv.Vault, ticks: Library) -> None:
    ticks.append("ES", "trades", made(1))
    (file,) = folder(vault).glob("*.journal")
    vault.close()
    file.rename(file.with_suffix(".away"))
    with tv.open(vault.path) as again:
        with pytest.raises(tv.IntegrityError, match="the file is gone"):
            ids(again.library("live"))
        with pytest.raises(tv.IntegrityError, match="the file is gone"):
            again.library("live").append("ES", "trades", made(2))
        assert not again.verify().sound
        file.with_suffix(".away").rename(file)
        assert ids(again.library("live")) == [1]


def test_relaxed_rows_behind_a_lost_one_do_not_come_back(vault: tv.Vault, ticks: Library) -> None:
    """A power cut may lose a relaxed frame and keep the next; the next must not follow a new frame in its place."""
    for number in range(4):
        ticks.append("ES", "trades", made(number))
    (file,) = folder(vault).glob("*.journal")
    data = bytearray(file.read_bytes())
    frame_size = (data.rfind(b"TFRM") - data.find(b"TFRM", data.find(b"TFRM") + 1)) // 3
    reboot(vault)
    start = data.rfind(b"TFRM") - 32 - 2 * frame_size
    data[start : start + frame_size] = bytes(frame_size)
    file.write_bytes(data)
    with tv.open(vault.path) as again:
        assert ids(again.library("live")) == [0]
        assert again.library("live").append("ES", "trades", made(9)).sequence == 4
        assert ids(again.library("live")) == [0, 9]
    (folder_state,) = Path(vault.path).rglob("state")
    folder_state.unlink()
    with tv.open(vault.path) as again:
        assert ids(again.library("live")) == [0, 9]


def test_strict_zero_copy_raises_where_it_would_copy(ticks: Library) -> None:
    ticks.append("ES", "trades", made(1, 2))
    with pytest.raises(tv.InvalidInputError, match="strict_zero_copy"):
        ticks.read("ES", "trades", strict_zero_copy=True)
    ticks.compact(tier="warm")
    table = ticks.read("ES", "trades", strict_zero_copy=True)
    assert not np.asarray(table["trade_id"]).flags.owndata
    ticks.append("ES", "trades", made(3))
    with pytest.raises(tv.InvalidInputError, match="2 files or stretches"):
        ticks.read("ES", "trades", strict_zero_copy=True)
    assert len(ticks.read("ES", "trades", DAY, DAY + 2 * SECOND, strict_zero_copy=True)) == 1
    ticks.compact(tier="cold")
    with pytest.raises(tv.InvalidInputError, match="cold files and corrected ones never are"):
        ticks.read("ES", "trades", strict_zero_copy=True)

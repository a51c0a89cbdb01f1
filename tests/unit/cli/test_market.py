"""Files in and rows out at the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Type = Callable[..., Any]

TICKS = """Time,Px,Qty
1703601000000,4800.25,3
1703601000001,4800.5,x
1703601000002,4800.75,5
"""
AS_TRADES = (
    *("--library", "cme", "--format", "table", "--schema", "trades", "--symbol", "ESH4", "--venue", "XCME"),
    *("--column", "ts_event=Time:ms", "--column", "price=Px", "--column", "size=Qty"),
)


@pytest.fixture
def cme(tickvault: Type, folder: Path) -> Type:
    (folder / "ticks.csv").write_text(TICKS)
    tickvault("ingest", "ticks.csv", *AS_TRADES)
    return tickvault


def test_a_file_goes_in_once_and_says_what_it_could_not_read(tickvault: Type, folder: Path) -> None:
    (folder / "ticks.csv").write_text(TICKS)
    done = tickvault("ingest", "ticks.csv", *AS_TRADES)
    # On a machine that is slow enough a rate follows.
    assert done.stdout.startswith("ticks.csv: 3 rows, 2 stored, ESH4, by table")
    assert "in quarantine: 1 row: " in done.stderr
    assert tickvault("ingest", "ticks.csv", *AS_TRADES).stdout == "ticks.csv: there already (3 rows, ESH4)\n"
    report = tickvault("ingest", "ticks.csv", *AS_TRADES, "--json").json
    assert (report["rows"], report["stored"], report["quarantined"], report["again"]) == (3, 2, 1, True)
    assert report["series"] == ["XCME/ESH4/trades"]


def test_rows_are_shown_or_written(cme: Type, folder: Path) -> None:
    shown = cme("read", "ESH4", "trades", "--library", "cme")
    assert "4800.25" in shown.stdout
    assert "2 rows" in shown.stderr
    csv = cme("read", "ESH4", "trades", "--library", "cme", "--output", "-", "--column", "price", "--column", "size")
    assert csv.stdout == "price,size\n4800.25,3.0\n4800.75,5.0\n"
    cme("read", "ESH4", "trades", "--library", "cme", "--output", "out.parquet", "--integers")
    assert pl.read_parquet(folder / "out.parquet")["price"].to_list() == [4_800_250_000_000, 4_800_750_000_000]
    for name in ("out.csv", "out.jsonl", "out.arrow"):
        cme("read", "ESH4", "trades", "--library", "cme", "--output", name)
        assert (folder / name).stat().st_size > 50
    lines = cme("read", "ESH4", "trades", "--library", "cme", "--json", "--column", "price").json_lines
    assert lines == [{"price": 4800.25}, {"price": 4800.75}]
    late = cme("read", "ESH4", "trades", "--library", "cme", "--start", "2023-12-26T14:30:00.001", "--output", "-")
    assert late.stdout.count("\n") == 2


def test_series_are_listed(cme: Type) -> None:
    head, line = cme("symbols", "--library", "cme").stdout.splitlines()
    assert head.split()[:5] == ["VENUE", "SYMBOL", "SCHEMA", "ROWS", "SIZE"]
    assert line.split()[:4] == ["XCME", "ESH4", "trades", "2"]
    assert line.endswith("2023-12-26T14:30:00.000Z  2023-12-26T14:30:00.002Z")
    assert cme("symbols", "--library", "cme", "--json").json["rows"] == 2
    assert cme("symbols", "--library", "cme", "--schema", "mbo").stdout == ""


def test_what_could_not_be_decoded_is_kept(cme: Type) -> None:
    told = cme("quality", "--library", "cme")
    assert told.stdout.startswith("ticks.csv row 1: ")
    assert told.stdout.endswith("1703601000001,4800.5,x\n")
    assert cme("quality", "--library", "cme", "--json").json["raw"] == "1703601000001,4800.5,x"


def test_files_that_fail_do_not_stop_the_others(tickvault: Type, folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "good.csv").write_text(TICKS)
    (folder / "in" / "strange.csv").write_text("nothing,that\nis,mapped\n")
    done = tickvault("ingest", "--recursive", "in", *AS_TRADES, status=None)
    assert done.status != 0
    assert "in/good.csv: 3 rows" in done.stdout
    assert "in/strange.csv" in done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("ingest", "none.csv", "--library", "cme"), "there is no such file"),
        (("ingest", ".", "--library", "cme"), "it is a folder; --recursive"),
        (("ingest", "notes.txt", "--library", "cme"), "no feed recognises it"),
        (
            ("ingest", "notes.txt", "--library", "cme", "--format", "word"),
            "there is no feed 'word'; the feeds are binance",
        ),
        (("ingest", "notes.txt", "--library", "C M E"), "library name 'C M E': it has 1 to 50"),
        (("read", "ESH4", "trades", "--library", "none"), "there is no library none; the libraries are cme"),
        (("read", "NQ", "trades", "--library", "cme"), "there is no such series in library cme; cme has no NQ"),
        (("read", "ESH4", "trades", "--library", "cme", "--output", "x.xls"), "name a file that ends in .csv"),
        (("symbols", "--library", "none"), "there is no library none"),
    ],
)
def test_errors_say_what_to_do(cme: Type, folder: Path, line: tuple[str, ...], told: str) -> None:
    (folder / "notes.txt").write_text("a letter to nobody\n")
    failed = cme(*line, status=None)
    assert failed.status not in {0, 70}
    assert told in failed.stderr

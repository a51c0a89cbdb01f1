"""Files in and rows out at the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tickvault as tv
from tickvault.cli.read import columns_shown

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


@pytest.mark.parametrize("line", [("--output", "-"), ("--json",)])
def test_a_reader_that_goes_away_ends_a_read_in_silence(
    tickvault: Type, start: Callable[..., Any], line: tuple[str, ...]
) -> None:
    """`tickvault read … --output - | head` ended with status 11 and "broken pipe (os error 32)"."""
    with tv.open("data") as vault:
        times = np.arange(200_000, dtype=np.int64)
        vault.library("cme").append("ESH4", "trades", {"ts_event": times, "price": times})
    process = start("read", "ESH4", "trades", "--library", "cme", *line)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_rows_come_through_a_pipe_slice_by_slice(tickvault: Type) -> None:
    with tv.open("data") as vault:
        times = np.arange(150_000, dtype=np.int64)
        vault.library("cme").append("ESH4", "trades", {"ts_event": times, "price": times * 10**9})
    read = ("read", "ESH4", "trades", "--library", "cme", "--column", "price")
    lines = tickvault(*read, "--output", "-").stdout.splitlines()
    assert lines[0] == "price"
    assert [float(line) for line in lines[1:]] == times.tolist()
    assert [row["price"] for row in tickvault(*read, "--json").json_lines] == times.tolist()
    assert tickvault(*read, "--output", "-", "--start", "2000-01-01").stdout == "price\n"


def test_messages_are_those_of_a_command_line(cme: Type, folder: Path) -> None:
    """--rows -5 printed thousands of rows; venue= was asked for where --venue is meant; es.csv.part was named."""
    read = ("read", "ESH4", "trades", "--library", "cme")
    assert "--rows" in cme(*read, "--rows", "-5", status=2).stderr
    assert "--rows" in cme("subscribe", "ESH4", "trades", "--library", "cme", "--rows", "-5", status=2).stderr
    missing = cme(*read, "--output", "none/es.csv", status=11)
    assert missing.stderr == "tickvault: none/es.csv: no such file or directory\n"
    with tv.open("data") as vault:
        vault.library("cme").append("ESH4", "trades", {"ts_event": [1]}, venue="OTHER")
    for command in (read, ("subscribe", "ESH4", "trades", "--library", "cme")):
        failed = cme(*command, status=None)
        assert "say which with --venue" in failed.stderr
        assert "venue=" not in failed.stderr
    unit = ("--library", "two", *AS_TRADES[2:10], "--column", "ts_event=Time", "--column", "price=Px")
    assert "say it with --column ts_event=Time:ms (" in cme("ingest", "ticks.csv", *unit, status=None).stderr
    (folder / "none.csv").touch()
    assert "the file is empty" in cme("ingest", "none.csv", "--library", "cme", status=None).stderr


def test_files_that_are_there_already_are_not_told_as_read(cme: Type, folder: Path) -> None:
    """ "3,146,486 rows read, 3,146,486 stored", when every file was there already and nothing was done."""
    (folder / "more.csv").write_text(TICKS + "1703601000003,4801,7\n")
    done = cme("ingest", "ticks.csv", "more.csv", *AS_TRADES)
    assert done.stderr.endswith("4 rows read, 3 stored, in library cme; 1 file was there already\n")
    done = cme("ingest", "ticks.csv", "more.csv", *AS_TRADES)
    assert done.stderr.endswith("0 rows read, 0 stored, in library cme; 2 files were there already\n")


def test_a_terminal_gets_the_columns_that_fit_it(
    cme: Type, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of 66 columns made lines of many hundred letters."""
    frame = pl.DataFrame({f"column_{at}": [at] for at in range(66)})
    assert columns_shown(frame) == frame.columns
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert columns_shown(frame) == frame.columns[:8]
    assert capsys.readouterr().err == "8 of 66 columns fit the terminal; --column NAME chooses others\n"

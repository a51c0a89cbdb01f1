"""Live rows, tiers, sessions and the past at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.market.times import to_ns

Type = Callable[..., Any]
LIVE = ("--library", "live")
NOON = to_ns("2023-12-26T18:00")


@pytest.fixture
def live(tickvault: Type, folder: Path) -> Type:
    with tv.open("data") as vault:
        ticks = vault.library("live")
        ticks.append("ESH4", "trades", rows(1, 2, 3), venue="GLBX")
        ticks.snapshot("three")
        ticks.append("ESH4", "trades", rows(4), venue="GLBX")
        ticks.correct(
            "ESH4", "trades", {"trade_id": [2], "price": [9.5]}, "trade_id", published="2023-12-27T12:00", venue="GLBX"
        )
        ticks.append("ESH4", "trades", rows(5), venue="GLBX")
    return tickvault


def rows(*numbers: int) -> dict[str, Any]:
    return {
        "ts_event": [NOON + number * 10**9 for number in numbers],
        "price": [number + 0.25 for number in numbers],
        "trade_id": list(numbers),
    }


def prices(typed: Any) -> list[float]:
    return [json.loads(line)["price"] for line in typed.stdout.splitlines()]


def test_live_rows_are_printed_once_and_from_any_number(live: Type) -> None:
    told = live("subscribe", "ESH4", "trades", *LIVE, "--from-sequence", "0", "--rows", "4")
    assert [line.split()[1] for line in told.stdout.splitlines()] == ["price", "1.25", "2.25", "3.25", "4.25"]
    later = live("subscribe", "ESH4", "trades", *LIVE, "--from-sequence", "3", "--timeout", "0.2", "--json").json_lines
    assert [(row["sequence_live"], row["price"]) for row in later] == [(3, 4.25), (4, 5.25)]
    assert live("subscribe", "ESH4", "trades", *LIVE, "--timeout", "0.2").stdout == ""


def test_the_past_is_read_by_snapshot_and_by_what_was_known(live: Type) -> None:
    read = ("read", "ESH4", "trades", *LIVE, "--json", "--column", "price")
    assert prices(live(*read)) == [1.25, 9.5, 3.25, 4.25, 5.25]
    assert prices(live(*read, "--snapshot", "three")) == [1.25, 2.25, 3.25]
    assert prices(live(*read, "--known-at", "2023-12-27")) == [1.25, 2.25, 3.25, 4.25, 5.25]
    assert prices(live(*read, "--session", "2023-12-26")) == [1.25, 9.5, 3.25, 4.25, 5.25]
    assert prices(live(*read, "--session", "2023-12-27")) == []
    wrong = live(*read, "--session", "2023-12-25", status=None)
    assert "no trading day" in wrong.stderr
    wrong = live(*read, "--snapshot", "four", status=None)
    assert "the snapshots are: three" in wrong.stderr


def test_tiers_change_no_row(live: Type) -> None:
    read = ("read", "ESH4", "trades", *LIVE, "--json")
    before = live(*read).stdout
    assert "5 live rows" not in live("verify").stderr
    assert "1 live row checked" in live("verify").stderr
    live("compact", *LIVE, "--warm")
    assert live(*read).stdout == before
    told = live("compact", *LIVE, "--older-than", "2023-12-01", "--json").json
    assert told["parts_before"] == 0
    told = live("compact", *LIVE, "--prune", "--json").json
    assert (told["rows"], told["parts_after"]) == (6, 1)
    assert live(*read).stdout == before
    assert live("compact", "--warm", status=None).status == 2


def test_a_damaged_journal_is_found(live: Type, folder: Path) -> None:
    (file,) = (folder / "data" / "journals").rglob("*.journal")
    data = bytearray(file.read_bytes())
    data[4096 + 300] ^= 1
    file.write_bytes(data)
    failed = live("verify", status=None)
    assert failed.status == 8
    assert "were acknowledged" in failed.stdout
    assert "1 damaged place in the journals of live rows" in failed.stderr

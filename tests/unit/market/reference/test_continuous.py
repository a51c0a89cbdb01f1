"""Continuous futures: the contract that a name means, and nothing from the future."""

from __future__ import annotations

from pathlib import Path

import pytest

import tickvault as tv
from tickvault.market.reference import (
    Contract,
    Instrument,
    contracts_of,
    published_open_interest,
    resolve_continuous,
    session_range,
    traded_volume,
)
from tickvault.market.times import text_of, to_ns

START, END = to_ns("2024-01-08"), to_ns("2024-01-13")
FRONT = Contract("ESH4", "ES", to_ns("2024-03-15T13:30"))
NEXT = Contract("ESM4", "ES", to_ns("2024-06-21T13:30"))
LAST = Contract("ESU4", "ES", to_ns("2024-09-20T13:30"))


def spans(*arguments: object, **named: object) -> list[tuple[str, str, str]]:
    found = resolve_continuous(*arguments, **named)  # type: ignore[arg-type]
    return [(each.raw_symbol, text_of(each.start_ns), text_of(each.end_ns)) for each in found]


def test_the_nearest_expiry_is_first() -> None:
    begin, end = to_ns("2024-03-01"), to_ns("2024-07-01")
    contracts = [LAST, FRONT, NEXT]
    assert spans("ES.c.0", begin, end, contracts) == [
        ("ESH4", "2024-03-01T00:00:00Z", "2024-03-15T13:30:00Z"),
        ("ESM4", "2024-03-15T13:30:00Z", "2024-06-21T13:30:00Z"),
        ("ESU4", "2024-06-21T13:30:00Z", "2024-07-01T00:00:00Z"),
    ]
    assert [each[0] for each in spans("ES.c.1", begin, to_ns("2024-06-01"), contracts)] == ["ESM4", "ESU4"]
    with pytest.raises(tv.NotFoundError, match="there are 1 contracts of ES that have not expired, and the rank 1"):
        resolve_continuous("ES.c.1", begin, end, contracts)


def test_volume_decides_for_the_session_after() -> None:
    """On Tuesday more of ESM4 was traded: from the session of Wednesday on, which begins on Tuesday evening."""
    asked: list[str] = []

    def volume(symbol: str, day: str) -> int:
        asked.append(day)
        return 100 if (symbol == "ESM4") == (day >= "2024-01-09") else 50

    found = spans("ES.v.0", START, END, [FRONT, NEXT], volume=volume)
    assert found == [
        ("ESH4", "2024-01-08T00:00:00Z", "2024-01-09T23:00:00Z"),
        ("ESM4", "2024-01-09T23:00:00Z", "2024-01-13T00:00:00Z"),
    ]
    assert [each[0] for each in spans("ES.v.1", START, END, [FRONT, NEXT], volume=volume)] == ["ESM4", "ESH4"]
    assert max(asked) < "2024-01-12", "the last session, Friday's, is decided by Thursday's"


@pytest.mark.parametrize("cut", ["2024-01-10", "2024-01-11", "2024-01-12"])
def test_cutting_off_the_future_never_changes_the_past(cut: str) -> None:
    def volume(symbol: str, day: str) -> int:
        return sum(f"{symbol}{day}{symbol}".encode()[int(day[-2:]) % 3 :: 3]) * 7919 % 1000

    whole = resolve_continuous("ES.v.0", START, END, [FRONT, NEXT, LAST], volume=volume)
    until, _ = session_range("GLBX", cut)

    def known(symbol: str, day: str) -> int:
        assert session_range("GLBX", day)[1] <= until, "a figure of a session that has not ended"
        return volume(symbol, day)

    part = resolve_continuous("ES.v.0", START, until, [FRONT, NEXT, LAST], volume=known)
    assert part == [each._replace(end_ns=min(each.end_ns, until)) for each in whole if each.start_ns < until]


def test_a_session_without_figures_asks_the_one_before() -> None:
    def volume(symbol: str, day: str) -> int | None:
        return {"2024-01-05": {"ESM4": 9, "ESH4": 1}}.get(day, {}).get(symbol)

    assert [each[0] for each in spans("ES.v.0", START, END, [FRONT, NEXT], volume=volume)] == ["ESM4"]
    with pytest.raises(tv.NotFoundError, match="there are no figures of the 10 sessions before 2024-02-05"):
        resolve_continuous("ES.v.0", to_ns("2024-02-05"), to_ns("2024-02-06"), [FRONT, NEXT], volume=volume)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ESH4", "is no continuous name; write ROOT.RULE.RANK"),
        ("ES.x.0", "is no continuous name"),
        ("ES.v.0", "the rule v needs volume="),
        ("ES.n.0", "the rule n needs open_interest="),
    ],
)
def test_what_is_missing_is_asked_for(name: str, told: str) -> None:
    with pytest.raises(tv.InvalidInputError, match=told):
        resolve_continuous(name, START, END, [FRONT, NEXT])
    with pytest.raises(tv.InvalidInputError, match="is not after the start"):
        resolve_continuous("ES.c.0", START, START, [FRONT])


@pytest.mark.parametrize(
    ("root", "symbol", "near", "expiry"),
    [
        ("ES", "ESH4", "2024-01-02", "2024-03-15T13:30:00Z"),  # as the exchange's definition has it
        ("ES", "ESM4", "2024-01-02", "2024-06-21T13:30:00Z"),
        ("GC", "GCZ13", "2013-10-07", "2013-12-27T18:30:00Z"),
        ("CL", "CLZ13", "2013-10-07", "2013-11-20T19:30:00Z"),
        ("CL", "CLF14", "2013-10-07", "2013-12-19T19:30:00Z"),  # the 25th of December is none: three before the 24th
        ("NG", "NGF24", "2023-10-02", "2023-12-27T19:30:00Z"),
    ],
)
def test_expiries_by_rule(root: str, symbol: str, near: str, expiry: str) -> None:
    (found,) = contracts_of(root, [symbol, f"{symbol}-{symbol}", "ZZH4"], near_ns=to_ns(near))
    assert text_of(found.expiry_ns) == expiry


def test_a_definition_counts_more_than_a_rule() -> None:
    told = Instrument("GLBX", "ESH4", instrument_class="F", expiry_ns=5, root="ES")
    option = told._replace(symbol="ESH4 C4800", instrument_class="C")
    assert contracts_of("ES", ["ESH4"], [told, option], near_ns=START) == [Contract("ESH4", "ES", 5)]
    with pytest.raises(
        tv.InvalidInputError, match="contract KEH4: when it expires is not known; ingest its definitions"
    ):
        contracts_of("KE", ["KEH4"], near_ns=START)


def test_gold_of_2013_by_its_ticks(market_data: Path, tmp_path: Path) -> None:
    with tv.open(tmp_path / "data") as vault:
        ticks = vault.library("lean")
        for path in sorted((market_data / "lean/future/comex/tick/gc").glob("*.zip")):
            ticks.ingest(path)
        start, end = to_ns("2013-10-08"), to_ns("2013-10-10")
        contracts = contracts_of("GC", ticks.symbols(venue="COMEX"), near_ns=start)
        named = {
            "volume": traded_volume(ticks, "COMEX"),
            "open_interest": published_open_interest(ticks, "COMEX"),
            "venue": "COMEX",
        }
        first = {rule: spans(f"GC.{rule}.0", start, end, contracts, **named) for rule in "cvn"}
        assert [each[0] for each in first["c"]] == ["GCV13"], "October expires first, and nobody trades it"
        assert [each[0] for each in first["v"]] == [each[0] for each in first["n"]] == ["GCZ13"]
        day_start, day_end = session_range("COMEX", "2013-10-08")
        rows = ticks.read("GCZ13", "trades", day_start, day_end)
        assert named["volume"]("GCZ13", "2013-10-08") == int(rows["size"].sum())  # type: ignore[operator]
        hours = ticks.read("GCZ13", "trades", day_end, day_end + 45 * 60 * 10**9)
        assert len(hours) == 0, "nothing is traded from 16:15 to 17:00 in Chicago"

"""A simulated day at the command line: what it stores, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tickvault as tv
from tickvault.market.library import Library
from tickvault.market.simulate import Market

Type = Callable[..., Any]
SMALL = ("simulate", "--library", "sim", "--symbols", "3", "--events", "30_000", "--seed", "5")


def test_a_day_goes_into_the_library(tickvault: Type) -> None:
    told = tickvault(*SMALL, "--date", "2026-01-06", "--json").json
    assert told["rows"]["mbo"] == 30_000
    assert told["rows"]["definition"] == 3
    assert told["faults"] == {}
    market = Market(3, seed=5, date="2026-01-06", events=30_000)
    assert told["symbols"] == [one.symbol for one in market.instruments]
    with tv.open("data") as vault:
        library = vault.library("sim")
        rows = dict.fromkeys(told["rows"], 0)
        for table in market.flow(["mbo", "trades", "bbo", "definition", "status"]):
            schema = table.schema.name
            rows[schema] += len(table)
            found = library.read(table.symbol, schema, venue="XSIM")
            assert len(found) == len(table)
            for name in table:
                assert np.array_equal(found[name], table[name]), (schema, name)
        assert rows == told["rows"]
        assert library.read("ALDER", "definition").strings("currency") in (["USD"], ["EUR"])


def test_it_says_what_it_did(tickvault: Type) -> None:
    done = tickvault(*SMALL, "--schemas", "mbo, trades")
    assert done.stdout.startswith("2026-01-05: 30,000 mbo, ")
    assert " trades, of 3 symbols, in library sim" in done.stdout
    assert "bbo" not in done.stdout
    assert done.stderr == ""


def test_symbols_are_a_number_or_names(tickvault: Type) -> None:
    told = tickvault(
        *("simulate", "--library", "sim", "--symbols", "ONE,TWO", "--events", "2000", "--venue", "XTWO", "--json")
    ).json
    assert (told["symbols"], told["venue"]) == (["ONE", "TWO"], "XTWO")
    assert tickvault("symbols", "--library", "sim", "--schema", "mbo").stdout.count("XTWO") == 2


def test_a_day_is_not_stored_twice(tickvault: Type) -> None:
    first = tickvault(*SMALL, "--json").json
    again = tickvault(*SMALL, "--json").json
    assert (again["rows"], again["stored"]) == (first["rows"], 0)
    assert "there already: " in tickvault(*SMALL).stderr
    for other in (("--seed", "6"), ("--events", "20000"), ("--symbols", "2"), ("--fault", "late=10")):
        typed = tickvault(*SMALL, *other, status=None)
        assert typed.status != 0
        assert "2026-01-05 already of another simulation (seed 5, events 30000, symbols 3)" in typed.stderr
    tickvault(*SMALL, "--date", "2026-01-06")
    tickvault(*SMALL, "--venue", "XTWO")
    with tv.open("data") as vault:
        assert len(vault.library("sim").read("ALDER", "mbo", venue="XSIM", start="2026-01-06")) > 1000


def test_a_run_that_was_cut_off_is_completed_by_the_same_command(
    tickvault: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a day lay in the library after a kill, and the same command refused it: it had rows already."""
    tickvault(*SMALL, "--date", "2026-01-06")
    tickvault("simulate", "--library", "whole", *SMALL[3:])
    whole_append = Library.append
    left = [11]  # tables until the end: in the midst of the third symbol

    def failing(self: Library, *arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "no space left")
        return whole_append(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Library, "append", failing)
        assert tickvault(*SMALL, status=None).status != 0
    assert "another simulation" in tickvault(*SMALL, "--seed", "6", status=None).stderr
    told = tickvault(*SMALL, "--json").json
    assert 0 < told["stored"] < sum(told["rows"].values())
    with tv.open("data") as vault:
        kept, wanted = vault.library("sim"), vault.library("whole")
        for key in wanted.series():
            found = kept.read(key.symbol, key.schema, end="2026-01-06", venue=key.venue)
            right = wanted.read(key.symbol, key.schema, venue=key.venue)
            assert len(found) == len(right), key
            for name in right:
                assert np.array_equal(found[name], right[name]), (key, name)
            assert len(kept.read(key.symbol, key.schema, start="2026-01-06", venue=key.venue)) > 0, "another day's stay"


def test_rows_of_another_origin_are_left_alone(tickvault: Type) -> None:
    """Rows that a person appended by hand on the day stand in the way; nothing is replaced."""
    market = Market(3, seed=5, date="2026-01-05", events=30_000)
    with tv.open("data") as vault:
        table = next(iter(market.flow(["trades"])))
        vault.library("sim").append(table.symbol, "trades", table.slice(0, 5), venue=table.venue)
    typed = tickvault(*SMALL, status=None)
    assert typed.status != 0
    assert "has rows of XSIM/ALDER of 2026-01-05 already, and would mix them" in typed.stderr
    tickvault(*SMALL, "--schemas", "mbo")


def test_faults_are_counted(tickvault: Type) -> None:
    told = tickvault(*SMALL, "--fault", "late=2000", "--fault", "repeated=1000", "--json").json
    assert told["faults"]["late"] > 10
    assert told["faults"]["repeated"] > 5
    assert told["rows"]["mbo"] > 30_000
    said = tickvault(*SMALL, "--venue", "XTWO", "--fault", "gaps=1000").stderr
    assert "spoilt on purpose: " in said
    assert "rows: gaps" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--symbols", "0"), "1 to 60000"),
        (("--events", "100"), "at least 400"),
        (("--schemas", "mbp-10"), "mbp-10"),
        (("--date", "tomorrow"), "2026-01-05"),
        (("--fault", "fire=1"), "late, repeated"),
        (("--fault", "late=often"), "late=100"),
        (("--library", "Not a name"), "library name"),
    ],
)
def test_what_cannot_be_is_refused(tickvault: Type, options: tuple[str, ...], words: str) -> None:
    typed = tickvault(*SMALL, *options, status=2)
    assert words in typed.stderr

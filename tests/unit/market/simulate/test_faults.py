"""Faults happen as often as was asked for, and are what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.joining import join_columns
from tickvault.market.simulate import Faults, Flow, Market

MARKET = Market(2, seed=8, events=200_000)
SYMBOL = MARKET.instruments[0].symbol


def told(faults: Faults | None, schema: str = "mbo") -> tuple[Columns, Flow]:
    flow = MARKET.flow(["mbo", "bbo", "trades"], faults=faults)
    pieces = [table.to_columns() for table in flow if (table.symbol, table.schema.name) == (SYMBOL, schema)]
    return join_columns(pieces), flow


@pytest.fixture(scope="module")
def clean() -> Columns:
    columns, flow = told(None)
    assert not flow.faults
    return columns


def test_late_rows_come_after_others(clean: Columns) -> None:
    columns, flow = told(Faults(late=1000))
    back = int((np.diff(columns["ts_recv"]) < 0).sum())
    assert 0.7 * 200 < flow.faults["late"] < 1.6 * 300
    assert back > 30
    # All of them come.
    for name in ("ts_recv", "sequence", "order_id", "size"):
        assert np.array_equal(np.sort(columns[name]), np.sort(clean[name]))


def test_repeated_rows_come_twice(clean: Columns) -> None:
    columns, flow = told(Faults(repeated=1000))
    more = len(columns) - len(clean)
    assert 30 < more < flow.faults["repeated"]
    same = np.ones(len(columns) - 1, np.bool_)
    for name in columns.arrays:
        same &= columns[name][1:] == columns[name][:-1]
    assert same.sum() >= more


def test_a_gap_takes_a_message_out_of_every_schema(clean: Columns) -> None:
    columns, flow = told(Faults(gaps=2000))
    jumps = np.diff(columns["sequence"].astype(np.int64))
    assert (jumps > 1).sum() > 50
    assert len(clean) - len(columns) < flow.faults["gaps"]
    lost = set(clean["sequence"].tolist()) - set(columns["sequence"].tolist())
    assert not lost & set(told(Faults(gaps=2000), "trades")[0]["sequence"].tolist())
    assert not lost & set(told(Faults(gaps=2000), "bbo")[0]["sequence"].tolist())


def test_a_clock_jumps_and_comes_back(clean: Columns) -> None:
    columns, flow = told(Faults(clock_jumps=20_000))
    wrong = columns["ts_recv"] != clean["ts_recv"]
    assert 0.005 < wrong.mean() < 0.04
    assert wrong.sum() <= flow.faults["clock_jumps"]
    assert np.abs(columns["ts_recv"] - clean["ts_recv"]).max() <= 2_000_000_000
    assert np.array_equal(columns["ts_event"], clean["ts_event"])
    # By stretches, each by one amount.
    assert len(np.unique((columns["ts_recv"] - clean["ts_recv"])[wrong])) <= wrong.sum() // 200


def test_quotes_cross() -> None:
    columns, flow = told(Faults(crossed=5000), "bbo")
    crossed = columns["bid_px_00"] > columns["ask_px_00"]
    assert 0.003 < crossed.mean() < 0.008
    assert crossed.sum() < flow.faults["crossed"]


def test_faults_are_rows_of_a_million() -> None:
    with pytest.raises(InvalidInputError, match="rows of a million"):
        Faults(late=-1)
    assert not Faults()
    assert Faults(gaps=1)

"""The simulated day keeps the rules that its docstring states."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tickvault.cli import demo_day


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("symbol", demo_day.SYMBOLS[:3])
def test_a_day_is_plausible(symbol: str, seed: int) -> None:
    columns = demo_day.series(symbol, seed).columns
    bbo = dict(zip(demo_day.COLUMNS["bbo"], columns["bbo"], strict=True))
    trades = dict(zip(demo_day.COLUMNS["trades"], columns["trades"], strict=True))
    close_ns = demo_day.OPEN_NS + demo_day.MINUTE_COUNT * demo_day.MINUTE_NS
    for times in (bbo["ts_event"], trades["ts_event"]):
        assert (np.diff(times) >= 0).all()
        assert times[0] >= demo_day.OPEN_NS
        assert times[-1] < close_ns
    assert (bbo["bid_px"] < bbo["ask_px"]).all()
    assert (bbo["bid_px"] > 0).all()
    assert (bbo["bid_sz"] > 0).all()
    assert (bbo["ask_sz"] > 0).all()
    assert (trades["size"] > 0).all()
    assert set(np.unique(trades["side"])) == {-1, 1}
    # Quotes at one instant may be several; a trade is at one of them.
    standing = {
        (int(ts), int(price))
        for side in ("bid_px", "ask_px")
        for ts, price in zip(bbo["ts_event"], bbo[side], strict=True)
    }
    traded = zip(trades["ts_event"].tolist(), trades["price"].tolist(), strict=True)
    assert set(traded) <= standing


def test_the_open_is_when_the_docstring_says() -> None:
    assert np.datetime64(demo_day.OPEN_NS, "ns") == np.datetime64("2026-01-05T14:30")


def test_equal_seeds_give_equal_days() -> None:
    first, again, other = (demo_day.series("ALDER", seed).columns for seed in (7, 7, 8))
    for schema in demo_day.COLUMNS:
        assert np.array_equal(first[schema], again[schema])
        assert not np.array_equal(first[schema], other[schema])


def test_the_minutes_hold_the_whole_day_once() -> None:
    day = [demo_day.series(symbol, 7) for symbol in demo_day.SYMBOLS]
    objects = dict(pair for batch in demo_day.minutes(day) for pair in batch)
    assert len(objects) == demo_day.object_count()
    for one in day[:3]:
        for schema, rows in one.columns.items():
            prefix = f"{demo_day.VENUE}/{one.symbol}/{schema}/{demo_day.DATE}/"
            parts = [np.load(io.BytesIO(body)) for key, body in objects.items() if key.startswith(prefix)]
            assert len(parts) == demo_day.MINUTE_COUNT
            assert np.array_equal(np.concatenate(parts, axis=1), rows)

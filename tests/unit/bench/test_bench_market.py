import json
from dataclasses import replace

import pytest

from tickvault.bench.market import appends, arctic, cold, itch_made, joins, sizes
from tickvault.bench.market.decoding import _decoded
from tickvault.bench.market.files import AIG, ES, data_folder, paths_of
from tickvault.bench.market.goals import at_least, at_most
from tickvault.bench.market.loading import Loaded, Series, load
from tickvault.bench.market.run import run_market
from tickvault.bench.market.stage import Scale, Stage
from tickvault.bench.report import Row
from tickvault.bench.setting import bench_setting
from tickvault.errors import NotFoundError
from tickvault.market.feeds.protocol import IngestOptions, Piece
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Source
from tickvault.market.joins import asof_join, nbbo
from tickvault.market.simulate import Market

TINY = Scale(
    rounds=1,
    seconds=0.01,
    simulated_rows=20_000,
    itch_symbols=5,
    append_count=30,
    rival_append_count=5,
    live_rows=10,
    free_bytes_min=0,
)


@pytest.fixture(autouse=True)
def _without_real_files(monkeypatch):
    monkeypatch.delenv("TICKVAULT_MARKET_DATA", raising=False)


@pytest.fixture
def stage(tmp_path):
    with bench_setting(str(tmp_path), 0, quick=True) as setting:
        yield Stage.begin(setting, TINY, None)


@pytest.fixture
def loaded(stage):
    return load(stage)


def test_a_run_without_files_measures_what_needs_none_and_leaves_nothing(tmp_path):
    told: list[str] = []
    report = run_market(str(tmp_path), progress=told.append, scale=TINY)
    rows = {row.name: row for row in report.rows}
    assert {
        "decode ITCH of simulated flow, a second of one core, beside reading it",
        "simulated flow into the vault, durable, one core, beside write + fdatasync",
        "live append of one row, strict",
        "live append of one row, relaxed",
        "to a subscriber in another process, relaxed, sleeping between rows, beside a pipe",
        "warm read of a day of simulated quotes, opened",
        "cold read of a day of simulated trades, beside Parquet, all columns",
        "as-of join of simulated trades to their nbbo, beside polars without by",
        "as-of join of simulated trades to their nbbo, beside polars with by",
        "listing after 30 appends of 100 rows, beside after 10",
        "reading a fixed 1,000 rows after 30 appends of 100 rows, beside after 10",
        "book replay of simulated orders",
    } <= set(rows)
    assert all(row.met is not None for row in report.rows if row.conditions)
    assert all((row.p50 or row.rate or 0) > 0 for row in report.rows)
    assert told
    notes = " ".join(report.notes)
    assert "not measured: cold bytes a row" in notes
    assert "not measured: decoding DBN" in notes
    json.loads(report.json_text())
    assert list(tmp_path.iterdir()) == []


def test_goals_are_told_exactly_and_name_the_rival():
    row = Row("x", "bytes", rate=1.66, compared="rate", conditions=(at_most("rate", 1.65),))
    assert (row.goal, row.met) == ("≤ 1.65 bytes", False)
    faster = Row("x", "us", p50=3.0, limit=2.0, conditions=(at_most("ratio", 1, "ArcticDB"),))
    assert (faster.goal, faster.met) == ("≤ 1 × ArcticDB", False)
    rate = Row("x", "values/s", rate=3e8, compared="rate", conditions=(at_least("rate", 300e6),))
    assert (rate.goal, rate.met) == ("≥ 300,000,000 values/s", True)


def test_a_folder_that_is_named_must_be_there(tmp_path):
    with pytest.raises(NotFoundError, match="--data"):
        data_folder(str(tmp_path / "none"))
    assert data_folder(None) is None
    assert paths_of(str(tmp_path), AIG) == paths_of(None, AIG) == []


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TICKVAULT_MARKET_DATA", str(tmp_path))
    assert data_folder(None) == str(tmp_path)


def test_sizes_are_those_of_all_rows_and_widths_of_what_is_not_null(stage, loaded):
    held = loaded.orders.held
    rows = {row.name: row for row in sizes.measure(stage, replace_sets(loaded, held))}
    stat = held.library.stat(*loaded.orders.key[1:])
    assert rows["cold ES MBO"].rate == stat.size_bytes / stat.rows
    (ratio,) = [row for name, row in rows.items() if name.startswith("natural-width")]
    tables = [held.library.read(key.symbol, key.schema) for key in held.library.series()]
    width = sum(table[name].nbytes for table in tables for name in table.columns)
    total = sum(held.library.stat(key.symbol, key.schema).size_bytes for key in held.library.series())
    # Every column of the simulated rows holds something.
    assert ratio.rate == pytest.approx(width / total)


def replace_sets(loaded: Loaded, held) -> Loaded:
    return replace(loaded, sets={ES: held}, reports={ES: []})


def test_rows_that_read_otherwise_after_compaction_are_found(stage, loaded, monkeypatch):
    """The harness catches a planted bug."""
    library = loaded.orders.held.library

    def lossy(**options):
        library.delete(loaded.orders.key.symbol, "mbo", "2026-01-05T15:00")

    monkeypatch.setattr(library, "compact", lossy)
    with pytest.raises(AssertionError, match="does not read as before"):
        sizes.measure(stage, replace_sets(loaded, loaded.orders.held))


def test_a_join_that_differs_from_polars_is_found(loaded):
    trades, best = loaded.trades.read(), nbbo(loaded.quotes.read())
    frames = [joins._frame(table, None) for table in (trades, best)]
    theirs = joins._polars_join(*frames, None)
    joins._check_equal(asof_join(trades, best), theirs)
    with pytest.raises(AssertionError, match="bid_px_00"):
        joins._check_equal(asof_join(trades, best, allow_exact=False), theirs)


def test_another_table_in_parquet_is_found(loaded):
    table = loaded.trades.read()
    cold._check_equal(table, table.to_arrow())
    with pytest.raises(AssertionError, match="same numbers"):
        cold._check_equal(table, table.to_arrow().slice(1))


def test_the_made_itch_file_is_sound_and_holds_what_the_flow_did(tmp_path):
    path = str(tmp_path / itch_made.NAME)
    count = itch_made.write_file(path, symbols=5, rows=20_000)
    counts = _decoded([path])
    assert (counts.read, counts.quarantined) == (count, 0)
    assert kinds_of(path) == {"R", "A", "E", "X", "D", "U"}
    # A change is a cancel and an add there.
    simulated = actions(Market(symbols=5, seed=5, date=itch_made.DAY, events=20_000).flow(["mbo"]))
    found: dict[str, int] = {}
    source = Source(path)
    for piece in feed_of(source).decode(source, IngestOptions()):
        if isinstance(piece, Piece) and piece.columns.schema.name == "mbo":
            for letter in map(chr, piece.columns["action"].tolist()):
                found[letter] = found.get(letter, 0) + 1
    assert found["A"] == simulated["A"] + simulated["M"]
    assert found["C"] == simulated["C"] + simulated["M"]
    assert found["T"] == found["F"] == simulated["F"]


def actions(flow) -> dict[str, int]:
    made: dict[str, int] = {}
    for table in flow:
        for letter in map(chr, table["action"].tolist()):
            made[letter] = made.get(letter, 0) + 1
    return made


def kinds_of(path: str) -> set[str]:
    with open(path, "rb") as file:
        data = file.read()
    place, kinds = 0, set()
    while place < len(data):
        kinds.add(chr(data[place + 2]))
        place += 2 + int.from_bytes(data[place : place + 2], "big")
    return kinds


def test_the_rival_is_optional(stage, loaded, monkeypatch):
    monkeypatch.setattr(arctic.importlib.util, "find_spec", lambda name: None)
    assert arctic.measure(stage, loaded) == []
    assert "arcticdb is not installed: pip install arcticdb" in stage.setting.report.notes[-1]


def test_the_rival_is_held_against_one_tier(stage, loaded):
    pytest.importorskip("arcticdb", reason="NOT TESTED: arcticdb is not installed")
    rows = {row.name: row for row in arctic.measure(stage, loaded)}
    assert len(rows) == 7
    assert all(row.limit and row.ratio for row in rows.values())
    assert sum(row.met is not None for row in rows.values()) == 6
    assert sum(f"({arctic.TIER})" in name for name in rows) == 4


def test_the_fixed_rows_are_a_thousand_and_not_of_one_value():
    batches = list(appends.made_batches(12))
    assert sum(len(batch["price"]) for batch in batches[: appends.FEW]) == 1_000
    assert len({int(price) for batch in batches for price in batch["price"]}) > 10
    times = [int(time) for batch in batches for time in batch["ts_recv"]]
    assert times == sorted(set(times))


def test_a_series_lists_its_largest_file_first(loaded):
    assert isinstance(loaded.trades, Series)
    sizes_of_parts = [part.rows for part in loaded.trades.parts()]
    assert sizes_of_parts == sorted(sizes_of_parts, reverse=True)

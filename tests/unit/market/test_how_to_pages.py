"""The how-to pages do what they say: their blocks run, in order, on a simulated market and files like those they name.

A stranger copied the first block of a page, and it failed; others used names that no block had made.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.market.simulate import Market

DOCS = Path(__file__).parents[3] / "docs" / "how-to"
FILES = {
    "sp500.csv": "ticker,start_date,end_date\nLEH,1998-01-12,2008-09-17\nAIG,1980-03-27,\n",
    "map_files/twx.csv": "19980102,aol\n20031015,aol\n20501231,twx\n",
    "factor_files/twx.csv": "19980102,0.9,0.25,22\n19990219,0.9,0.5,170\n20501231,1,1,0\n",
}
DAY_NS = 86_400_000_000_000


def blocks(page: str) -> list[str]:
    return [part.partition("```")[0] for part in (DOCS / page).read_text().split("```python\n")[1:]]


def run(page: str, folder: Path, *, together: bool = True) -> str:
    """Run a page's blocks, in one process or each in its own, and return what they print."""
    programs = ["\n".join(blocks(page))] if together else blocks(page)
    assert all(programs)
    told = ""
    for program in programs:
        done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program}\n{done.stderr}"
        told += done.stdout
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files and the libraries that the pages name."""
    made = tmp_path_factory.mktemp("pages")
    for name, text in FILES.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text)
    with tv.open(made / "data") as vault:
        for library, symbols, venue, dates in (
            ("cme", ["ESH4"], "GLBX", ("2023-12-25", "2023-12-26")),
            ("lean", ["AIG"], "XNYS", ("2023-12-26",)),
            ("futures", ["GCG4", "GCJ4"], "COMEX", ("2023-12-26", "2023-12-27")),
        ):
            for date in dates:
                for table in Market(symbols, date=date, venue=venue, events=20_000).flow(["mbo", "trades", "bbo"]):
                    vault.library(library).append(table.symbol, table.schema.name, table)
        eod = vault.library("eod")
        days = [16_000 * DAY_NS, 16_001 * DAY_NS]
        eod.append("AAPL", "ohlcv-1d", {"ts_event": days, "open": [1.0, 2.0], "close": [1.0, 2.0]}, venue="XNAS")
        path = made / "actions.csv"
        path.write_text("s,kind,day,new,old\nAAPL,split,2014-06-09,7,1\n")
        columns = {"symbol": "s", "kind": "kind", "ex_date": "day", "ratio_new": "new", "ratio_old": "old"}
        eod.reference.load_actions(path, columns)
    return made


def test_each_block_on_reference_data_runs_by_itself(folder: Path) -> None:
    """The first block ended with "bucket 'library-eod' does not exist"; others used `ticks`, which nothing had made."""
    assert "split 2014-06-30" in run("reference-data.md", folder, together=False)


def test_the_page_on_doubtful_rows_runs(folder: Path) -> None:
    run("validate-market-data.md", folder, together=False)


def test_the_page_on_order_books_runs(folder: Path) -> None:
    """Its second block used `trades`, which no block had read."""
    assert "3 bids, 3 asks" in run("replay-order-books.md", folder)


def test_the_page_on_joins_and_bars_runs(folder: Path) -> None:
    run("join-and-bar.md", folder)


def test_a_block_that_fails_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "blocks", lambda page: ["ticks.read('ESH4')\n"])
    with pytest.raises(AssertionError, match="name 'ticks' is not defined"):
        run("any.md", folder)


def test_the_page_on_the_simulator_runs(folder: Path) -> None:
    assert "Counter({" in run("simulate-a-market.md", folder)

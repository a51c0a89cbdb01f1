"""The tutorial does what it says, on the file that it names, in fewer than 25 lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str) -> list[str]:
    return [part.partition("```")[0] for part in (DOCS / page).read_text().split("```python\n")[1:]]


def run(program: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_an_empty_folder_to_a_join_and_a_plot(market_data: Path, tmp_path: Path) -> None:
    (program,) = blocks("tutorial-market-data.md")
    assert len([line for line in program.splitlines() if line.strip()]) < 25
    (tmp_path / "equity").symlink_to(market_data / "lean" / "equity")
    told = run(program, tmp_path)
    assert "25351 rows of AIG" in told
    assert "25_258" in told
    assert (tmp_path / "aig.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "aig.png").stat().st_size > 10_000


def test_the_live_page_does_what_it_says(tmp_path: Path) -> None:
    append, subscribe, correct = blocks("how-to/live-market-data.md")
    assert "4750.5" in run(append, tmp_path)
    assert run(subscribe, tmp_path).startswith("0 1 [4750250000000")
    shown = run(correct, tmp_path)
    assert "48.0" in shown
    assert "49.1" not in shown
    assert "operation='bust'" in shown

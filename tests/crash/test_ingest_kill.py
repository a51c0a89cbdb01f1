"""An ingest that is killed is taken up by running it again: every row is there, and none twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tickvault as tv

ROWS = 400_000
COMMAND = (
    *(
        sys.executable,
        "-c",
        "from tickvault.cli import main; main()",
        "ingest",
        "ticks.csv",
        "--library",
        "x",
        "--format",
        "table",
    ),
    *("--schema", "trades", "--venue", "X", "--column", "ts_event=ts_event:ns"),
)


def write_ticks(path: Path) -> None:
    """Three symbols that interleave, over five days."""
    numbers = np.arange(ROWS)
    times = 1_703_548_800 * 10**9 + numbers * 10**9
    symbols = np.array(["A", "B", "C"])[numbers % 3]
    lines = [
        f"{ts},{symbol},{n}" for ts, symbol, n in zip(times.tolist(), symbols.tolist(), numbers.tolist(), strict=True)
    ]
    path.write_text("ts_event,symbol,trade_id\n" + "\n".join(lines) + "\n")


@pytest.mark.slow
def test_a_killed_ingest_repeats_without_duplicates(tmp_path: Path) -> None:
    write_ticks(tmp_path / "ticks.csv")
    chance = random.Random(1)
    whole_s = 0.0
    for name in ("first", "second"):  # the first one compiles
        started = time.monotonic()
        subprocess.run([*COMMAND, "--vault", name], cwd=tmp_path, check=True, capture_output=True)
        whole_s = time.monotonic() - started
    killed = 0
    for _ in range(8):
        process = subprocess.Popen([*COMMAND, "--vault", "data"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(whole_s * chance.uniform(0.3, 0.9))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 2
    done = subprocess.run([*COMMAND, "--vault", "data"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"{ROWS:,} rows" in done.stdout
    with tv.open(tmp_path / "data") as vault:
        ticks = vault.library("x")
        for place, symbol in enumerate("ABC"):
            found = ticks.read(symbol, "trades")["trade_id"]
            assert np.array_equal(found, np.arange(place, ROWS, 3))
            assert len(ticks.versions(symbol, "trades")) == 1
        assert vault.verify().sound

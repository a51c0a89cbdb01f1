"""Real processes, really killed: four writers on one vault, more than 200 times.

The work is done by `kill_rounds.py` in processes of its own, because writers are forked from one that is small and has
no threads.  ``TICKVAULT_KILL_ROUNDS`` sets the number of rounds of each vault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kill_rounds.py")
ROUNDS = int(os.environ.get("TICKVAULT_KILL_ROUNDS", "105"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_what_killed_writers_were_told_is_true(tmp_path: Path, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, str(ROUNDS), str(seed)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["rounds"] == ROUNDS
    assert counts["killed"] >= ROUNDS
    # The run is worth something only if the kills hit calls in flight, races were run, and journals replayed.
    assert counts["acknowledged"] > 5 * ROUNDS
    assert counts["in_flight"] > ROUNDS / 2
    assert counts["races_won"] > ROUNDS / 2
    assert counts["replays"] > ROUNDS / 20


def test_the_checker_notices_a_lost_write(tmp_path: Path) -> None:
    """The harness catches what it is there for: a log that claims more than the vault holds."""
    import kill_rounds

    with kill_rounds.open_vault(tmp_path, 1) as vault:
        for bucket in kill_rounds.BUCKETS:
            vault.create_bucket(bucket)
        vault["strict"].put("counter", b"0")
        log = kill_rounds.Log(tmp_path / "w1.log")
        begun = log.begin(put=[["strict", "k", "w1/1", 100]])
        log.done(begun, sequence=1)
        checker = kill_rounds.Checker(tmp_path)
        with pytest.raises(kill_rounds.LostWriteError, match="strict/k was acknowledged and is gone"):
            checker.check(vault, set())
        half = [["strict", f"many/{part}", f"w1/2/{part}", 10] for part in range(2)]
        vault["strict"].put("many/0", kill_rounds.body_of("w1/2/0", 10))
        log.begin(put=half)
        with pytest.raises(kill_rounds.LostWriteError, match="half of many/0 is visible"):
            checker.check(vault, {"w1"})

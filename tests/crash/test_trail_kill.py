"""kill -9 at any moment: every acknowledged change is in the trail once, and so is every acknowledged refusal."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.audit.record import Category

_WRITER = """
import sys
import tickvault as tv

path, name = sys.argv[1:]
with tv.open(path) as vault:
    kept, raw = vault.bucket("kept"), vault.bucket("raw")
    version = kept.put(f"{name}/locked", b"x", legal_hold=True).version_id
    print("ready", flush=True)
    number = 0
    while True:
        raw.put(f"{name}/{number}", b"x" * 300)
        print(f"put {name}/{number}", flush=True)
        if number % 10 == 0:
            try:
                kept.delete(f"{name}/locked", version_id=version)
            except tv.LockedError:
                print(f"refused {name} {number}", flush=True)
        if number % 100 == 50:
            vault.audit.follower().step()
        number += 1
"""


@pytest.mark.parametrize("seed", range(3))
def test_two_writers_are_killed(tmp_path, seed):
    rng = random.Random(seed)
    path = tmp_path / "data"
    with tv.open(path) as vault:
        vault.create_bucket("raw")
        vault.create_bucket("kept", object_lock=True)
    acknowledged: list[str] = []
    refused: dict[str, int] = {}
    for round_ in range(3):
        outputs = [(tmp_path / f"out-{round_}-{name}").open("w+") for name in "ab"]
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, str(path), f"{round_}{name}"], stdout=output)
            for name, output in zip("ab", outputs, strict=True)
        ]
        for output in outputs:
            while "ready" not in Path(output.name).read_text():
                time.sleep(0.01)
        time.sleep(rng.uniform(0.2, 1.0))
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
        for output in outputs:
            output.seek(0)
            # The last line may be cut: what was not said whole was not acknowledged.
            for line in output.read().rpartition("\n")[0].splitlines():
                if line.startswith("put "):
                    acknowledged.append(line[4:])
                elif line.startswith("refused "):
                    refused[line.split()[1]] = refused.get(line.split()[1], 0) + 1
            output.close()
    assert len(acknowledged) > 50
    with tv.open(path) as vault:
        report = vault.audit.verify()
        assert report.ok, report.text()
        told = [record.key for record in vault.audit.query(action="PutObject", bucket="raw")]
        stored = {info.key for info in vault.bucket("raw").list() if not isinstance(info, str)}
        assert len(told) == len(set(told)), "told twice"
        assert set(acknowledged) <= set(told)
        assert set(told) == stored
        refusals = [record.key for record in vault.audit.query(category=Category.REFUSAL)]
        for name, count in refused.items():
            # One may have been recorded whose answer the process did not live to give.
            assert refusals.count(f"{name}/locked") - count in (0, 1)

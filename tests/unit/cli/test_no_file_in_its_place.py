"""A FIFO in the place of a file of the vault: refused, or gone around, and never waited for.

The story: `tickvault audit verify` hung for ever on a FIFO that lay in the place of a trail file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tickvault as tv

NAMES = [
    "audit/trail-00000001", "audit/trail-00000002", "audit/head", "audit/position", "audit/lock", "audit/wanted",
    "audit/signing.key", "audit/rings/1-0000.ring", "audit/rings/1-0000.new", "format.json", "identity.json", "control",
    "manifest", "manifest.lock", "open.lock", "damage.txt", "index/data.mdb", "index/lock.mdb",
    "segments/journal-0000000001.seg",
]  # fmt: skip
#: What lies in the way there is told as what it is; elsewhere the vault makes its own again, or does without.
TOLD = (
    "audit/trail",
    "audit/head",
    "audit/lock",
    "audit/signing.key",
    "format.json",
    "control",
    "manifest",
    "open.lock",
)
SECONDS_MAX = 60
MAIN = "from tickvault.cli.app import main; main()"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fifo") / "data"
    with tv.open(path) as vault:
        vault.create_bucket("raw")
        vault["raw"].put("a", b"x")
        vault.audit.catch_up()
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_fifo_is_not_waited_for(filled: Path, tmp_path: Path, name: str) -> None:
    vault = tmp_path / "data"
    shutil.copytree(filled, vault)
    (vault / name).parent.mkdir(exist_ok=True)
    (vault / name).unlink(missing_ok=True)
    os.mkfifo(vault / name, 0o600)
    for words in (["audit", "verify"], ["put", __file__, "raw/b"]):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words, "--vault", str(vault)],
            capture_output=True, text=True, timeout=SECONDS_MAX, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        if words[0] == "audit" and name.startswith(TOLD):
            assert done.returncode != 0
            assert name.rpartition("/")[2] in done.stderr + done.stdout

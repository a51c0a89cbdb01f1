"""Verify calls a sound vault sound, however its index came about."""

from __future__ import annotations

from pathlib import Path

import pytest

import tickvault as tv


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 262_144, 262_145])
@pytest.mark.parametrize("versioning", [False, True])
def test_the_index_of_a_commit_is_that_of_a_replay(tmp_path: Path, size: int, versioning: bool) -> None:
    """A body of several frames in the journal once got one index entry from its commit and another from a replay."""
    path = tmp_path / "data"
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw", versioning=versioning)
        for key in ("a", "b"):
            raw.put(key, bytes(size))
            raw.put(key, bytes(size), tags={"a": "b"})
        raw.delete("b")
        raw.set_tags("a", {})
        report = vault.verify(heal=False)
        assert report.sound, report
    tv.vault.rebuild_index(path)
    with tv.open(path) as vault:
        report = vault.verify(heal=False)
        assert report.sound, report

"""Bodies in several segments outlive the compaction of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tickvault as tv
from tickvault.objects import multipart


def test_a_body_in_two_segments_is_moved_out_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story: its record was found once, moved with the first segment, not known again with the second, and the
    second was retired with half of the body in it."""
    monkeypatch.setattr(multipart, "PART_SIZE_MIN", 1)
    parts = [bytes([number]) * 70_000 for number in range(3)]
    done = []
    upload_id = ""
    for number, body in enumerate(parts, 1):
        # Each opening has a body segment of its own.
        with tv.open(tmp_path / "data") as vault:
            raw = vault.bucket("raw") if "raw" in vault else vault.create_bucket("raw")
            upload_id = upload_id or raw.create_upload("a").upload_id
            done.append((number, raw.put_part("a", upload_id, number, body).etag))
    with tv.open(tmp_path / "data") as vault:
        raw = vault["raw"]
        raw.complete_upload("a", upload_id, done)
        for _ in range(2):
            vault.compact(dead_ratio_min=0.0)
            assert bytes(raw.get("a")) == b"".join(parts)
            assert vault.verify().sound

"""Many objects at once: the kernel's way and the plain way give the same, and say the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.engine import kernels
from tickvault.engine.engine import EngineOptions
from tickvault.objects import get_many as module

COUNT = 200


@pytest.fixture(params=["kernel", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    loaded = kernels.load()
    assert loaded is not None
    monkeypatch.setattr(module, "kernels", lambda count: loaded if request.param == "kernel" else None)
    return str(request.param)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[tv.Vault]:
    # Segments so small that a batch is read from several of them.
    options = EngineOptions(segment_size_first=64 * 1024, segment_size_max=64 * 1024, background=False)
    with tv.open(tmp_path / "data", options=options) as opened:
        yield opened


@pytest.fixture
def stored(vault: tv.Vault) -> dict[str, bytes]:
    raw = vault.create_bucket("raw")
    items = {f"k/{number:04d}": os.urandom(number * 7 % 5000) for number in range(COUNT)}
    for start in range(0, COUNT, 10):
        raw.put_many(list(items.items())[start : start + 10])
    return items


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("where", ["recent", "index", "both"])
def test_every_blob_is_its_object(vault: tv.Vault, stored: dict[str, bytes], where: str) -> None:
    raw = vault["raw"]
    if where != "recent":
        vault.store.engine.checkpoint()
    if where == "both":
        stored["k/0003"] = b"anew"
        raw.put("k/0003", b"anew")
    keys = list(stored)[::-1] + ["k/0003"] * 2
    blobs = raw.get_many(keys)
    assert [bytes(blob) for blob in blobs] == [stored[key] for key in keys]
    assert [blob.info for blob in blobs] == [raw.head(key) for key in keys]
    with pytest.raises(ValueError, match="read-only"):
        blobs[0].view("u1")[0] = 1


@pytest.mark.usefixtures("way")
def test_what_is_unusual_comes_too(vault: tv.Vault, stored: dict[str, bytes]) -> None:
    raw = vault["raw"]
    unusual = {"large": os.urandom(700_000), "frames": os.urandom(200_000), "x" * 900: b"long key", "empty": b""}
    for key, body in unusual.items():
        raw.put(key, body, metadata={"venue": "XCME"})
    keys = [*stored, *unusual]
    assert [bytes(blob) for blob in raw.get_many(keys)] == [*stored.values(), *unusual.values()]
    assert raw.get_many(keys)[-1].info.metadata == {"venue": "XCME"}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("wrong", ["missing", "deleted", "\ud800", "", 7])
def test_a_key_that_is_not_there_is_told(vault: tv.Vault, stored: dict[str, bytes], wrong: Any) -> None:
    raw = vault["raw"]
    raw.put("deleted", b"x")
    raw.delete("deleted")
    keys = [*stored, wrong]
    with pytest.raises((tv.NotFoundError, tv.InvalidInputError)):
        raw.get_many(keys)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("offset", [70, 64, 4, 40, 200])
def test_a_flipped_bit_is_an_error_that_names_the_key(vault: tv.Vault, stored: dict[str, bytes], offset: int) -> None:
    raw = vault["raw"]
    raw.get_many(list(stored))
    from tickvault.objects.entries import decode_entry, object_key

    index_key = object_key(raw.bucket_id, b"k/0150")
    value = vault.store.engine.index.get(index_key)
    assert value is not None
    entry = decode_entry(index_key, value)
    path = vault.store.engine.segments.path(entry.segment_id, vault.store.engine.segments.entry(entry.segment_id).kind)
    with Path(path).open("r+b") as file:
        file.seek(entry.offset + offset)
        byte = file.read(1)
        file.seek(entry.offset + offset)
        file.write(bytes([byte[0] ^ 4]))
    with pytest.raises(tv.IntegrityError, match="k/0150"):
        raw.get_many(list(stored))


@pytest.mark.usefixtures("way")
def test_an_entry_that_points_out_of_its_segment_leads_nobody_there(vault: tv.Vault, stored: dict[str, bytes]) -> None:
    """The kernel reads raw memory, so what an entry says is checked before it gets there."""
    from tickvault.objects.entries import decode_entry, encode_entry, object_key

    raw = vault["raw"]
    index_key = object_key(raw.bucket_id, b"k/0100")
    value = vault.store.engine.index.get(index_key)
    assert value is not None
    entry = decode_entry(index_key, value)
    for wrong in (
        entry._replace(offset=1 << 63),
        entry._replace(offset=(1 << 64) - 64),
        entry._replace(size=1 << 62),
        entry._replace(offset=1 << 40),
        entry._replace(body_offset=(1 << 32) - 1),
        entry._replace(segment_id=999),
    ):
        with vault.store.engine.index.recent.begin(write=True) as txn:
            txn.put(index_key, encode_entry(index_key, wrong))
        with pytest.raises(tv.IntegrityError):
            raw.get_many(list(stored))


@pytest.mark.usefixtures("way")
def test_no_keys_no_blobs(vault: tv.Vault) -> None:
    assert vault.create_bucket("raw").get_many([]) == []

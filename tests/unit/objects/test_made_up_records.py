"""Records with sound checksums and no meaning, as whoever can write the vault's files may make them."""

from __future__ import annotations

import pytest

import tickvault as tv
from tickvault.engine.commit import Operation
from tickvault.objects import entries
from tickvault.objects.entries import META, META_LOCK, Kind


def made_up(folder, kind: Kind, key: bytes, meta: bytes, aux: int = 0, bucket_id: int | None = None) -> None:
    """Append a record past every guard and past the index, which a process that reads it builds from it."""
    with tv.open(folder) as vault:
        engine = vault.store.engine
        engine.guards[:] = []
        apply, engine.apply = engine.apply, lambda *_: None
        number = vault["kept"].bucket_id if bucket_id is None else bucket_id
        try:
            engine.commit(Operation(lambda txn: txn.append(kind, number, key, meta, aux=aux), 1024))
        finally:
            engine.apply = apply


@pytest.fixture
def folder(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("kept", object_lock=True).put("a", b"x", legal_hold=True)
    return tmp_path / "data"


PUT_WITH_LOCK_AND_NONE = META.pack(b"\0" * 16, 0, META_LOCK, 0, 1) + entries.pack({})


@pytest.mark.parametrize(
    ("kind", "key", "meta", "aux", "bucket_id"),
    [
        (Kind.PUT, b"b", PUT_WITH_LOCK_AND_NONE, 1, None),
        (Kind.PUT, b"b", b"", 1, None),
        (Kind.PUT, b"b", META.pack(b"\0" * 16, 0, META_LOCK, 0, 1) + b"\xc1", 1, None),
        (Kind.REMOVE, b"b", b"", 3, None),
        (Kind.LOCK, b"a", entries.pack([1]), 3, None),
        (Kind.BUCKET, b"kept", entries.pack(None), 0, None),
        (Kind.DOCUMENT, b"lock/clock", entries.pack([]), 0, 0),
        (Kind.DOCUMENT, b"lock/clock", entries.pack({"t": "x"}), 0, 0),
        (Kind.UPLOAD, b"c", b"\xc1", 0, None),
        (Kind.PART, b"c", b"", 5, None),
    ],
)
def test_the_rest_of_the_vault_can_be_looked_at(folder, kind, key, meta, aux, bucket_id):
    made_up(folder, kind, key, meta, aux, bucket_id)
    tv.rebuild_index(folder)
    with tv.open(folder, create=False) as vault:
        vault.verify()
        assert vault.audit.verify().ok
        assert list(vault.audit.query(action="CreateBucket"))
        vault.reconcile(everything=True)
        try:
            assert bytes(vault["kept"].get("a")) == b"x"
        except tv.IntegrityError:
            assert kind in (Kind.BUCKET, Kind.LOCK)
        with pytest.raises((tv.LockedError, tv.IntegrityError)):
            vault["kept"].delete("a", version_id=vault["kept"].head("a").version_id)


def test_attributes_without_a_meaning(folder):
    with tv.open(folder) as vault:
        sequence = vault["kept"].head("a").sequence
    made_up(folder, Kind.ATTRIBUTES, b"a", entries.pack({"tg": None}), sequence)
    tv.rebuild_index(folder)
    with tv.open(folder, create=False) as vault:
        assert [(found.kind, found.key) for found in vault.reconcile().findings] == [("unreadable", "a")]
        with pytest.raises(tv.IntegrityError, match="tags and headers of object 'a'"):
            vault["kept"].head("a")
        vault["kept"].set_tags("a", {"desk": "fx"})
        assert vault["kept"].get_tags("a") == {"desk": "fx"}

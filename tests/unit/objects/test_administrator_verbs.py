"""Every public verb of `Vault`, `Bucket`, `Library` and the audit trail, in the hands of an administrator.

`compact` and `backup` of a vault once crashed for whoever was allowed to do them: they were tried by those only who
were not. The tables below are compared with the classes, so that no verb is left out.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.audit.auditor import Auditor
from tickvault.objects.bucket import Bucket
from tickvault.vault import Vault

ARN = "arn:aws:iam::000000000000:user/op"
LATER_NS = 4 * 10**18


@pytest.fixture
def vaults(tmp_path):
    """A vault, and the same as an administrator has it."""
    with tv.open(tmp_path / "data") as vault:
        vault.identities.create_user("op")
        vault.identities.attach_policy("administrator", user="op")
        with vault.as_identity(ARN) as ours:
            yield vault, ours


def public(kind: type) -> set[str]:
    return {
        name
        for name, found in inspect.getmembers(kind)
        if not name.startswith("_") and (callable(found) or isinstance(found, property | cached_property))
    }


# -- the vault

VAULT: dict[str, Callable[[Vault, Path], Any]] = {
    "create_bucket": lambda vault, at: vault.create_bucket("made", object_lock=True, retention=("GOVERNANCE", 1)),
    "bucket": lambda vault, at: vault.bucket("desk").name,
    "buckets": lambda vault, at: vault.buckets(),
    "bucket_names": lambda vault, at: vault.bucket_names(),
    "delete_bucket": lambda vault, at: vault.delete_bucket("empty"),
    "verify": lambda vault, at: vault.verify(heal=False),
    "compact": lambda vault, at: vault.compact(),
    "backup": lambda vault, at: vault.backup(at / "backup"),
    "reconcile": lambda vault, at: vault.reconcile(),
    "audit": lambda vault, at: vault.audit.verify(),
    "libraries": lambda vault, at: vault.libraries(),
    "close": lambda vault, at: vault.close() or True,
}
#: In the test of the library.
VAULT_ELSEWHERE = {"library"}
#: What no identity has through its handle.
VAULT_REFUSED: dict[str, Callable[[Vault], Any]] = {
    "as_identity": lambda vault: vault.as_identity(ARN),
    "identities": lambda vault: vault.identities,
}


def test_the_table_of_the_vault_is_whole():
    assert public(Vault) == set(VAULT) | VAULT_ELSEWHERE | set(VAULT_REFUSED)


@pytest.mark.parametrize("verb", VAULT)
def test_a_verb_of_the_vault(vaults, tmp_path, verb):
    vault, ours = vaults
    vault.create_bucket("desk").put("a", b"x")
    vault.create_bucket("empty")
    assert VAULT[verb](ours, tmp_path) is not False


@pytest.mark.parametrize("verb", VAULT_REFUSED)
def test_a_verb_of_the_vault_that_nobody_has_by_identity(vaults, verb):
    with pytest.raises(tv.AccessDeniedError, match="through this handle"):
        VAULT_REFUSED[verb](vaults[1])


def test_upkeep_is_in_the_trail_as_theirs(vaults, tmp_path):
    vault, ours = vaults
    vault.create_bucket("desk").put("a", b"x")
    ours.compact()
    ours.backup(tmp_path / "backup")
    assert {record.action for record in vault.audit.query(identity=ARN)} >= {"Compact", "Backup"}
    tv.restore(tmp_path / "backup", tmp_path / "again")


# -- the audit trail

AUDIT: dict[str, Callable[[Auditor, Path], Any]] = {
    "head": lambda audit, at: audit.head(),
    "query": lambda audit, at: list(audit.query()),
    "verify": lambda audit, at: audit.verify(),
    "export": lambda audit, at: audit.export(at / "evidence"),
}


def test_the_verbs_of_the_trail(vaults, tmp_path):
    _, ours = vaults
    for verb, use in AUDIT.items():
        assert use(ours.audit, tmp_path), verb
    for verb in public(Auditor) - set(AUDIT):
        with pytest.raises(tv.AccessDeniedError, match="without one"):
            getattr(ours.audit, verb)
    assert not hasattr(ours.audit, "nonsense")


# -- a bucket


def _upload(bucket: Bucket) -> str:
    return bucket.create_upload("parts").upload_id


def _complete(bucket: Bucket) -> Any:
    upload = _upload(bucket)
    part = bucket.put_part("parts", upload, 1, b"x" * 10)
    return bucket.complete_upload("parts", upload, [(1, part.etag)])


def _write(writer: Any) -> bool:
    with writer:
        writer.write(b"y" * 10)
        writer.commit()
    return True


def _versioned(bucket: Bucket) -> str:
    return bucket.put("locked", b"x").version_id


BUCKET: dict[str, Callable[[Bucket], Any]] = {
    "info": lambda desk: desk.info.documents,
    "put": lambda desk: desk.put("b", io.BytesIO(b"y"), tags={"desk": "rates"}),
    "put_many": lambda desk: desk.put_many([("b", b"y"), ("c", b"z")]),
    "open_writer": lambda desk: _write(desk.open_writer("b")),
    "get": lambda desk: desk.get("a"),
    "get_many": lambda desk: desk.get_many(["a"]),
    "get_ranges": lambda desk: desk.get_ranges("a", [(0, 1)]),
    "read": lambda desk: desk.read("a").bytes(0, 1),
    "read_resident": lambda desk: desk.read_resident("a") or True,
    "head": lambda desk: desk.head("a"),
    "delete": lambda desk: desk.delete("a"),
    "delete_many": lambda desk: [result.existed for result in desk.delete_many(["a", ("a", None)])],
    "copy": lambda desk: desk.copy("a", "b"),
    "versions": lambda desk: list(desk.versions("a")),
    "list": lambda desk: list(desk.list()),
    "list_page": lambda desk: desk.list_page(),
    "list_versions_page": lambda desk: desk.list_versions_page(),
    "list_uploads_page": lambda desk: desk.list_uploads_page(),
    "get_tags": lambda desk: desk.get_tags("a") == {},
    "set_tags": lambda desk: desk.set_tags("a", {"desk": "rates"}),
    "set_headers": lambda desk: desk.set_headers("a", {"x-amz-acl": "private"}),
    "retain": lambda desk: desk.retain("locked", _versioned(desk), "GOVERNANCE", LATER_NS),
    "hold": lambda desk: desk.hold("locked", _versioned(desk), True),
    "set_object_lock": lambda desk: desk.set_object_lock(("GOVERNANCE", 1)),
    "create_upload": lambda desk: _upload(desk),
    "upload_info": lambda desk: desk.upload_info("parts", _upload(desk)),
    "put_part": lambda desk: desk.put_part("parts", _upload(desk), 1, b"x"),
    "open_part_writer": lambda desk: _write(desk.open_part_writer("parts", _upload(desk), 1)),
    "list_parts_page": lambda desk: desk.list_parts_page("parts", _upload(desk)),
    "complete_upload": _complete,
    "abort_upload": lambda desk: desk.abort_upload("parts", _upload(desk)) is None,
    "audit_reads": lambda desk: desk.audit_reads(True),
    "set_versioning": lambda desk: desk.set_versioning("enabled"),
    "set_durability": lambda desk: desk.set_durability("relaxed"),
    "set_encryption": lambda desk: desk.set_encryption(None),
    "rewrap": lambda desk: desk.rewrap(),
    "set_document": lambda desk: desk.set_document("tagging", {"desk": "rates"}),
}
#: Operations that a door runs in a commit of its own.
BUCKET_OPERATIONS = {"put_operation", "delete_operation"}


def test_the_table_of_a_bucket_is_whole():
    assert public(Bucket) == set(BUCKET) | BUCKET_OPERATIONS


@pytest.mark.parametrize("verb", BUCKET)
def test_a_verb_of_a_bucket(vaults, verb):
    vault, ours = vaults
    vault.create_bucket("desk", object_lock=True).put("a", b"x")
    assert BUCKET[verb](ours["desk"]) is not False


# -- a library


def _frame(*times: int) -> Any:
    pl = pytest.importorskip("polars")
    size = len(times)
    return pl.DataFrame(
        {"ts_event": times, "price": [1.0] * size, "size": [1] * size, "trade_id": [str(time) for time in times]}
    )


def _appended(library: Any) -> Any:
    with library.writer("ES", "trades") as writer:
        return writer.append(_frame(7))


def _subscribed(library: Any) -> Any:
    with library.subscribe("ES", "trades", from_sequence=1) as subscription:
        return subscription is not None


def _ingested(library: Any, at: Path) -> Any:
    at.joinpath("rows.csv").write_text("ts_event,symbol,price,size\n2030-01-01T00:00:00Z,NQ,1.0,1\n")
    return library.ingest(at / "rows.csv", format="table", schema="trades", venue="LOCAL")


LIBRARY: dict[str, Callable[[Any, Path], Any]] = {
    "name": lambda ticks, at: ticks.name,
    "append": lambda ticks, at: ticks.append("ES", "trades", _frame(4, 5)),
    "ingest": _ingested,
    "writer": lambda ticks, at: _appended(ticks),
    "subscribe": lambda ticks, at: _subscribed(ticks),
    "write": lambda ticks, at: ticks.write("ES", "trades", _frame(1, 2)),
    "update": lambda ticks, at: ticks.update("ES", "trades", _frame(2), 2, 3),
    "delete": lambda ticks, at: ticks.delete("ES", "trades"),
    "correct": lambda ticks, at: ticks.correct("ES", "trades", _frame(2), "trade_id"),
    "bust": lambda ticks, at: ticks.bust("ES", "trades", {"trade_id": "2"}),
    "restore": lambda ticks, at: ticks.restore("ES", "trades", 1),
    "read": lambda ticks, at: ticks.read("ES", "trades"),
    "batches": lambda ticks, at: list(ticks.batches("ES", "trades")),
    "symbols": lambda ticks, at: ticks.symbols(),
    "series": lambda ticks, at: ticks.series(),
    "stat": lambda ticks, at: ticks.stat("ES", "trades"),
    "versions": lambda ticks, at: ticks.versions("ES", "trades"),
    "quarantine": lambda ticks, at: list(ticks.quarantine()) == [],
    "snapshot": lambda ticks, at: ticks.snapshot("friday") is None,
    "snapshots": lambda ticks, at: ticks.snapshots(),
    "delete_snapshot": lambda ticks, at: ticks.delete_snapshot("monday") is None,
    "compact": lambda ticks, at: ticks.compact(),
    "prune": lambda ticks, at: ticks.prune(),
    "reference": lambda ticks, at: ticks.reference is not None,
    "close": lambda ticks, at: ticks.close() is None,
}


def test_the_table_of_a_library_is_whole():
    pytest.importorskip("polars")
    from tickvault.market.library import Library

    assert public(Library) - {"open"} == set(LIBRARY) - {"name"}


@pytest.mark.parametrize("verb", LIBRARY)
def test_a_verb_of_a_library(vaults, tmp_path, verb):
    _, ours = vaults
    ticks = ours.library("ticks")
    ticks.write("ES", "trades", _frame(1, 2, 3))
    ticks.snapshot("monday")
    assert LIBRARY[verb](ticks, tmp_path) is not False

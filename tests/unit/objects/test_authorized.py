"""The Python API in the hands of an identity."""

from __future__ import annotations

import copy
import inspect
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import tickvault as tv
from tickvault.audit.record import Category
from tickvault.authorized import AuthorizedVault
from tickvault.market.authorized import FREE as LIBRARY_FREE
from tickvault.market.authorized import RULES
from tickvault.market.library import Library
from tickvault.objects.authorized import BY_HAND, ON_BUCKET, ON_OBJECT, READS_SETTING, SETTINGS
from tickvault.objects.bucket import Bucket
from tickvault.vault import Vault


@pytest.fixture
def vault(tmp_path):
    with tv.open(tmp_path / "data") as opened:
        opened.create_bucket("desk", versioning=True).put("ours/a", b"ours")
        opened.bucket("desk").put("theirs/b", b"theirs")
        yield opened


def user(vault: tv.Vault, name: str, *statements: dict, roles: tuple[str, ...] = ()) -> str:
    identities = vault.identities
    identities.create_user(name)
    if statements:
        text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        identities.put_inline_policy("own", text, user=name)
    for role in roles:
        identities.attach_policy(role, user=name)
    return identities.create_access_key(user=name).id


def allow(*actions: str, on: str, **condition) -> dict:
    found = {"Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:s3:::{on}"}
    return {**found, "Condition": condition} if condition else found


def test_every_verb_has_its_rule():
    verbs = {name for name, found in inspect.getmembers(Bucket) if not name.startswith("_") and callable(found)}
    properties = {name for name, found in inspect.getmembers(Bucket) if isinstance(found, property)}
    assert verbs | properties == set(ON_OBJECT) | set(ON_BUCKET) | BY_HAND
    shown = {name for name in dir(Library) if not name.startswith("_")}
    assert shown - set(RULES) <= LIBRARY_FREE
    for name, found in inspect.getmembers(Vault):
        if not name.startswith("_") and (callable(found) or isinstance(found, property)):
            assert name in vars(AuthorizedVault) or name in ("close", "as_identity"), name


def test_what_is_allowed_and_nothing_else(vault):
    key = user(
        vault,
        "alice",
        allow("s3:GetObject", "s3:PutObject", on="desk/ours/*"),
        allow("s3:ListBucket", on="desk", StringLike={"s3:prefix": "ours/*"}),
    )
    with vault.as_identity(key) as hers:
        desk = hers.bucket("desk")
        assert desk.get("ours/a") == b"ours"
        desk.put("ours/new", b"x")
        with desk.open_writer("ours/large") as writer:
            writer.write(b"y" * 400_000)
            writer.commit()
        assert [info.key for info in desk.list("ours/")] == ["ours/a", "ours/large", "ours/new"]
        for refused in (
            lambda: desk.get("theirs/b"),
            lambda: desk.get_many(["ours/a", "theirs/b"]),
            lambda: desk.put("theirs/b", b"x"),
            lambda: desk.put_many([("ours/ok", b"x"), ("theirs/b", b"x")]),
            lambda: desk.put("ours/a", b"x", tags={"a": "b"}),
            lambda: desk.delete("ours/a"),
            lambda: desk.get("ours/a", version_id="0" * 16),
            lambda: desk.copy("theirs/b", "ours/stolen"),
            lambda: desk.copy("ours/a", "theirs/b"),
            lambda: list(desk.list("")),
            lambda: desk.info,
            lambda: desk.set_versioning("suspended"),
            lambda: desk.set_document("policy", "{}"),
            lambda: desk.set_document("something", {}),
            lambda: desk.audit_reads(True),
            lambda: hers.buckets(),
            lambda: hers.create_bucket("more"),
            lambda: hers.delete_bucket("desk"),
            lambda: hers.library("ticks"),
            lambda: hers.compact(),
            lambda: hers.verify(),
            lambda: hers.backup("/nowhere"),
            lambda: hers.audit.query(),
            lambda: hers.audit.export("/nowhere"),
            lambda: hers.reconcile(),
            lambda: hers.identities,
        ):
            with pytest.raises(tv.AccessDeniedError):
                refused()
        (first, second) = desk.delete_many(["ours/a", "theirs/b"])
        assert isinstance(first, tv.AccessDeniedError)
        assert isinstance(second, tv.AccessDeniedError)
    assert vault.bucket("desk").get("theirs/b") == b"theirs"
    # Nothing was half done.
    with pytest.raises(tv.NotFoundError):
        vault.bucket("desk").head("ours/ok")


def test_changes_and_refusals_are_in_the_trail_as_theirs(vault):
    key = user(vault, "alice", allow("s3:PutObject", on="desk/*"))
    with vault.as_identity(key) as hers:
        hers.bucket("desk").put("small", b"x")
        with hers.bucket("desk").open_writer("large") as writer:
            writer.write(b"y" * 400_000)
            writer.commit()
        with pytest.raises(tv.AccessDeniedError):
            hers.bucket("desk").get("small")
    arn = "arn:aws:iam::000000000000:user/alice"
    found = list(vault.audit.query(identity=arn))
    assert [(record.category, record.action, record.key) for record in found] == [
        (Category.CHANGE, "PutObject", "small"),
        (Category.CHANGE, "PutObject", "large"),
        (Category.REFUSAL, "GetObject", "small"),
    ]
    assert found[2].result == "AccessDenied"


def test_rights_are_those_of_now(vault):
    key = user(vault, "alice", allow("s3:GetObject", on="desk/*"))
    with vault.as_identity(key) as hers:
        assert hers.bucket("desk").get("ours/a") == b"ours"
        vault.identities.delete_inline_policy("own", user="alice")
        with pytest.raises(tv.AccessDeniedError):
            hers.bucket("desk").get("ours/a")
        vault.identities.attach_policy("reader", user="alice")
        assert hers.bucket("desk").get("ours/a") == b"ours"
        vault.identities.set_access_key_disabled(key, True)
        with pytest.raises(tv.AccessDeniedError):
            hers.bucket("desk").get("ours/a")
    with pytest.raises(tv.AccessDeniedError):
        vault.as_identity(key)
    with pytest.raises((tv.AccessDeniedError, tv.NotFoundError)):
        vault.as_identity("arn:aws:iam::000000000000:user/nobody")


_ARN = "arn:aws:iam::000000000000:"


def _may_read(handle) -> bool:
    try:
        return bytes(handle["desk"].get("ours/a")) == b"ours"
    except tv.CredentialRefusedError:
        return False


def test_a_buckets_settings_are_for_who_may_read_them(vault):
    # Who had no policy at all once read the bucket's policy, its tags and its key from `info`.
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [{**allow("s3:GetObject", on="desk/x"), "Principal": "*"}]}
    )
    for name, value in (("policy", policy), ("tagging", {"desk": "secret"}), ("acl", "private"), ("own", {"a": 1})):
        vault["desk"].set_document(name, value)
    stranger = user(vault, "stranger")
    lister = user(vault, "lister", allow("s3:ListBucket", "s3:GetBucketTagging", on="desk"))
    setter = user(vault, "setter", allow("s3:PutBucketVersioning", on="desk"))
    reader = user(vault, "reader", roles=("reader",))
    administrator = user(vault, "op", roles=("administrator",))
    with vault.as_identity(stranger) as theirs, pytest.raises(tv.AccessDeniedError, match="s3:ListBucket"):
        theirs["desk"].info  # noqa: B018
    with vault.as_identity(lister) as theirs:
        info = theirs["desk"].info
        assert (info.name, info.versioning, dict(info.documents)) == (
            "desk",
            "enabled",
            {"tagging": {"desk": "secret"}},
        )
        assert info.documents["tagging"] == copy.deepcopy(info).documents["tagging"]
        assert json.loads(json.dumps(info.documents)) == {"tagging": {"desk": "secret"}}
        for refused in (
            lambda: info.documents["policy"],
            lambda: info.documents.get("acl"),
            lambda: "cors" in info.documents,
            lambda: info.documents.get("own"),
            lambda: info.encryption,
            lambda: info.object_lock,
        ):
            with pytest.raises(tv.AccessDeniedError):
                refused()
    with vault.as_identity(setter) as theirs:
        assert not theirs["desk"].set_versioning("enabled").documents
    with vault.as_identity(reader) as theirs:
        assert [(info.name, len(info.documents)) for info in theirs.buckets()] == [("desk", 0)]
    with vault.as_identity(administrator) as theirs:
        info = theirs["desk"].info
        assert info == vault["desk"].info
        assert info.documents.get("cors") is None and "cors" not in info.documents
        assert info.encryption is None
        with pytest.raises(KeyError):
            info.documents["cors"]
    # Every document that may be set may be read by a right of its own.
    assert set(SETTINGS) < set(READS_SETTING)


def test_a_handle_by_arn_stops_with_whom_it_was_opened_for(vault):
    # Handles by access key stopped; those by ARN once went on for the disabled user and her service account.
    identities = vault.identities
    user(vault, "ann", roles=("reader",))
    identities.create_service_account("nightly", parent="ann")
    arns = [_ARN + "user/ann", _ARN + "service-account/nightly"]
    handles = [vault.as_identity(arn) for arn in arns]
    assert all(map(_may_read, handles))
    identities.set_user_disabled("ann", True)
    assert not any(map(_may_read, handles))
    for arn in arns:
        with pytest.raises(tv.CredentialRefusedError, match="ann is disabled"):
            vault.as_identity(arn)
    identities.set_user_disabled("ann", False)
    assert all(map(_may_read, handles))
    identities.set_service_account_disabled("nightly", True)
    assert list(map(_may_read, handles)) == [True, False]
    identities.set_service_account_disabled("nightly", False)
    identities.delete_user("ann", force=True)
    assert not any(map(_may_read, handles))
    refused = list(vault.audit.query(category=Category.REFUSAL, identity=arns[0]))
    assert "ann is disabled" in refused[0].detail["reason"]
    for handle in handles:
        handle.close()


def test_a_handle_by_arn_is_nobody_made_later_under_the_name(vault):
    identities = vault.identities
    user(vault, "ann", roles=("reader",))
    identities.create_service_account("nightly", parent="ann")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": _ARN + "user/bob"}}
    text = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    user(vault, "bob")
    identities.create_role("loader", text)
    identities.attach_policy("reader", role="loader")
    arns = [_ARN + "user/ann", _ARN + "service-account/nightly", _ARN + "role/loader"]
    handles = [vault.as_identity(arn) for arn in arns]
    assert all(map(_may_read, handles))
    identities.delete_user("ann", force=True)
    user(vault, "ann", roles=("administrator",))
    identities.create_service_account("nightly", parent="ann")
    identities.delete_role("loader", force=True)
    identities.create_role("loader", text)
    identities.attach_policy("administrator", role="loader")
    for handle in handles:
        assert not _may_read(handle)
        with pytest.raises(tv.CredentialRefusedError, match="another has the name"):
            handle.buckets()
        handle.close()
    for arn in arns:
        with vault.as_identity(arn) as again:
            assert _may_read(again)


def test_a_bucket_policy_denies_also_here(vault):
    key = user(vault, "alice", roles=("reader",))
    deny = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::desk/theirs/*"}
        ],
    }
    vault.bucket("desk").set_document("policy", json.dumps(deny))
    with vault.as_identity(key) as hers:
        assert hers.bucket("desk").get("ours/a") == b"ours"
        with pytest.raises(tv.AccessDeniedError):
            hers.bucket("desk").get("theirs/b")


def test_the_roles_out_of_the_box(vault, tmp_path):
    kept = vault.create_bucket("kept", object_lock=True)
    version = kept.put("a", b"x").version_id
    keys = {name: user(vault, name, roles=(name,)) for name in ("reader", "writer", "compliance-officer", "auditor")}

    def as_(name):
        return vault.as_identity(keys[name])

    with as_("auditor") as auditor:
        assert auditor.audit.verify().ok
        assert auditor.bucket("kept").get("a") == b"x"
        auditor.audit.export(tmp_path / "evidence")
        for refused in (
            lambda: auditor.bucket("kept").put("b", b"x"),
            lambda: auditor.bucket("kept").hold("a", None, True),
            lambda: auditor.compact(),
        ):
            with pytest.raises(tv.AccessDeniedError):
                refused()
    with as_("compliance-officer") as officer:
        officer.bucket("kept").hold("a", version, True)
        officer.bucket("kept").retain("a", version, "GOVERNANCE", 4 * 10**18)
        officer.bucket("kept").retain("a", version, "GOVERNANCE", 3 * 10**18, bypass_governance=True)
        with pytest.raises(tv.AccessDeniedError):
            officer.bucket("kept").delete("a", version_id=version)
    with as_("writer") as writer:
        writer.bucket("kept").put("b", b"x")
        with pytest.raises(tv.AccessDeniedError):
            writer.bucket("kept").delete("a", version_id=version, bypass_governance=True)
        with pytest.raises(tv.AccessDeniedError):
            writer.bucket("kept").hold("a", version, False)
        with pytest.raises(tv.AccessDeniedError):
            writer.audit.query()
    with as_("reader") as reader:
        with pytest.raises(tv.AccessDeniedError):
            reader.bucket("kept").put("c", b"x")


def test_a_library_in_the_hands_of_a_trader(tmp_path):
    pl = pytest.importorskip("polars")
    with tv.open(tmp_path / "data") as vault:
        frame = pl.DataFrame({"ts_event": [1, 2, 3], "price": [1.0, 2.0, 3.0], "size": [1, 1, 1]})
        vault.library("ticks").write("ES", "trades", frame)
        trader = user(vault, "trader", roles=("trader",))
        reader = user(vault, "reader", roles=("reader",))
        with vault.as_identity(trader) as theirs:
            ticks = theirs.library("ticks")
            ticks.append("ES", "trades", frame.with_columns(ts_event=pl.Series([4, 5, 6])))
            assert len(ticks.read("ES", "trades")) == 6
            with pytest.raises(tv.AccessDeniedError):
                ticks.delete("ES", "trades")
            with pytest.raises(tv.AccessDeniedError):
                ticks.compact()
        with vault.as_identity(reader) as theirs:
            assert len(theirs.library("ticks").read("ES", "trades")) == 6
            with pytest.raises(tv.AccessDeniedError):
                theirs.library("ticks").append("ES", "trades", frame)
            with pytest.raises(tv.AccessDeniedError):
                theirs.library("new")


def test_a_second_policy_lets_no_trader_rewrite_or_remove_rows(tmp_path):
    # A trader who is a writer too once deleted market data for good: the Deny named S3's verbs, not the library's.
    pl = pytest.importorskip("polars")
    with tv.open(tmp_path / "data") as vault:
        frame = pl.DataFrame({"ts_event": [1, 2, 3], "price": [1.0, 2.0, 3.0], "size": [1, 1, 1]})
        vault.library("ticks").write("ES", "trades", frame)
        vault.library("ticks").snapshot("friday")
        tom = user(vault, "tom", roles=("trader", "writer", "administrator"))
        with vault.as_identity(tom) as toms:
            ticks = toms.library("ticks")
            for refused in (
                lambda: ticks.delete("ES", "trades"),
                lambda: ticks.prune(),
                lambda: ticks.write("ES", "trades", frame),
                lambda: ticks.update("ES", "trades", frame, 1, 3),
                lambda: ticks.compact(),
                lambda: ticks.delete_snapshot("friday"),
                lambda: ticks.restore("ES", "trades", 1),
                lambda: toms["library-ticks"].delete("library"),
                lambda: toms["library-ticks"].put("library", b"other"),
                lambda: toms["library-ticks"].copy("library", "other"),
                lambda: toms.delete_bucket("library-ticks"),
                lambda: toms.compact(),
            ):
                with pytest.raises(tv.AccessDeniedError, match="trader"):
                    refused()
            ticks.append("ES", "trades", frame.with_columns(ts_event=pl.Series([4, 5, 6])))
            assert len(ticks.read("ES", "trades")) == 6
            assert ticks.snapshots()


def test_opened_as_somebody(tmp_path):
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("desk").put("a", b"x")
        key = user(vault, "alice", allow("s3:GetObject", on="desk/a"))
    with tv.open(tmp_path / "data", identity=key) as hers:
        assert hers.bucket("desk").get("a") == b"x"
        with pytest.raises(tv.AccessDeniedError):
            hers.bucket("desk").put("a", b"y")
    with pytest.raises(tv.InvalidInputError):
        tv.open(tmp_path / "data", identity="")


def test_what_goes_on_is_asked_about_again(vault):
    key = user(vault, "bob", allow("s3:*", on="*"))
    with vault.as_identity(key) as bobs:
        desk = bobs["desk"]
        writer = desk.open_writer("late", None)
        writer.write(b"late")
        begun = desk.create_upload("parts")
        part = desk.open_part_writer("parts", begun.upload_id, 1)
        part.write(b"late")
        vault.bucket("desk").put_many([(f"n/{number:04}", b"") for number in range(1500)])
        listed = desk.list(prefix="n/")
        next(listed)
        vault.identities.set_user_disabled("bob", True)
        for late in (writer, part):
            with pytest.raises(tv.AccessDeniedError):
                late.commit()
        with pytest.raises(tv.AccessDeniedError):
            list(listed)
    with pytest.raises(tv.NotFoundError):
        vault.bucket("desk").head("late")


TOM = "arn:aws:iam::000000000000:user/tom"


def _disabled(identities):
    identities.set_user_disabled("tom", True)


def _deleted(identities):
    identities.delete_user("tom", force=True)


def _detached(identities):
    identities.detach_policy("trader", user="tom")


@pytest.mark.parametrize("stop", [_disabled, _deleted, _detached])
def test_what_is_live_asks_for_every_append_and_every_delivery(vault, stop):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"ts_event": [1, 2, 3], "price": [1.0, 2.0, 3.0], "size": [1, 1, 1]})
    vault.library("lib").write("ES", "trades", frame)
    user(vault, "tom", roles=("trader",))
    with vault.as_identity(TOM) as toms:
        lib = toms.library("lib")
        with lib.writer("ES", "trades") as writer, lib.subscribe("ES", "trades") as subscription:
            assert repr(writer).startswith("<Writer")
            assert writer.key == subscription.key
            assert writer.append(ts_recv=4, price=4.0, size=1).rows == 1
            assert len(subscription.get(timeout=5)) == 1
            assert subscription.get(timeout=0) is None
            assert writer.append(frame).rows == 3
            assert len(next(iter(subscription))) == 3
            following = subscription.next_sequence
            batches = lib.batches("ES", "trades", 1)
            next(batches)
            stop(vault.identities)
            for refused in (
                lambda: writer.append(ts_recv=5, price=4.0, size=1),
                lambda: writer.append(frame),
                lambda: subscription.get(timeout=0),
                lambda: next(iter(subscription)),
                lambda: next(batches),
            ):
                with pytest.raises(tv.AccessDeniedError):
                    refused()
            assert subscription.next_sequence == following
        with pytest.raises(tv.ClosedError):
            subscription._got.get(timeout=0)
        with pytest.raises(tv.ClosedError):
            writer._got.append(ts_recv=5, price=4.0, size=1)
    assert len(vault.library("lib").read("ES", "trades")) == 7
    found = [
        (record.action, record.bucket)
        for record in vault.audit.query(category=Category.REFUSAL, bucket="library-lib")
        if record.identity == TOM
    ]
    assert found == [("AppendRows", "library-lib")] * 2 + [("ReadLibrary", "library-lib")] * 3


def test_rows_that_come_after_the_right_is_gone_are_kept_until_it_is_back(vault):
    pytest.importorskip("polars")
    lib = vault.library("lib")
    user(vault, "tom", roles=("trader",))
    with lib.writer("ES", "trades") as writer, vault.as_identity(TOM) as toms:
        writer.append(ts_recv=1, price=1.0, size=1)
        with toms.library("lib").subscribe("ES", "trades") as subscription:
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(subscription.get, 30)
                time.sleep(0.2)
                vault.identities.detach_policy("trader", user="tom")
                writer.append(ts_recv=2, price=2.0, size=1)
                with pytest.raises(tv.AccessDeniedError):
                    waiting.result(30)
            vault.identities.attach_policy("reader", user="tom")
            assert subscription.get(timeout=5).sequence == 1
            subscription.close()
            assert list(subscription) == []


def test_a_refusal_names_its_bucket_in_the_trail(vault):
    pytest.importorskip("polars")
    vault.library("lib")
    user(vault, "tom")
    with vault.as_identity(TOM) as toms:
        for refused in (
            lambda: toms.library("lib"),
            lambda: toms.library("new"),
            lambda: toms.create_bucket("more"),
            lambda: toms["desk"].get("ours/a"),
            toms.buckets,
        ):
            with pytest.raises(tv.AccessDeniedError):
                refused()
    found = [(record.action, record.bucket, record.key) for record in vault.audit.query(category=Category.REFUSAL)]
    assert found == [
        ("ReadLibrary", "library-lib", ""),
        ("WriteLibrary", "library-new", ""),
        ("CreateBucket", "more", ""),
        ("GetObject", "desk", "ours/a"),
        ("ListAllMyBuckets", "", ""),
    ]


def test_a_session_token_is_of_an_access_key(vault, tmp_path):
    user(vault, "tom", roles=("reader",))
    for open_ in (
        lambda: vault.as_identity(TOM, session_token="x"),
        lambda: vault.as_identity("anonymous", session_token="x"),
        lambda: tv.open(tmp_path / "data", identity=TOM, session_token="x"),
    ):
        with pytest.raises(tv.InvalidInputError, match="access key of temporary credentials"):
            open_()


def test_nobody_becomes_another_through_their_handle(vault):
    key = user(vault, "alice", allow("s3:*", on="*"))
    user(vault, "root-like", roles=("administrator",))
    with vault.as_identity(key) as alices, pytest.raises(tv.AccessDeniedError, match="cannot become"):
        alices.as_identity("arn:aws:iam::000000000000:user/root-like")


def test_whether_there_is_a_bucket_is_told_to_everyone(vault):
    # As at S3, where HeadBucket answers 403 or 404.
    key = user(vault, "carol")
    with vault.as_identity(key) as carols:
        assert "desk" in carols
        assert "none" not in carols


def test_a_name_that_is_neither_key_nor_arn(vault):
    user(vault, "alice")
    with pytest.raises(tv.InvalidInputError, match="user/NAME"):
        vault.as_identity("alice")


def test_a_role_is_opened_by_its_temporary_credentials(vault, tmp_path):
    from tickvault.objects.identities import decide_trust

    key = user(vault, "alice", allow("s3:GetObject", on="desk/*"))
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"},
    }
    vault.identities.create_role("loader", json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    vault.identities.attach_policy("reader", role="loader")
    caller = vault.identities.find(key)
    session = vault.identities.assume_role(caller, "loader", "run", decide=decide_trust)
    token = session.session_token.reveal()
    with tv.open(tmp_path / "data", identity=session.access_key_id, session_token=token) as opened:
        assert bytes(opened["desk"].get("ours/a")) == b"ours"
    with pytest.raises(tv.AccessDeniedError):
        tv.open(tmp_path / "data", identity=session.access_key_id)


def test_a_public_policy_that_is_restricted_lets_no_anonymous_in(vault):
    # As at the S3 door: RestrictPublicBuckets is on where the settings say nothing.
    statement = {**allow("s3:GetObject", on="desk/*"), "Principal": "*"}
    vault["desk"].set_document("policy", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    with vault.as_identity("anonymous") as theirs:
        with pytest.raises(tv.AccessDeniedError):
            theirs["desk"].get("ours/a")
        vault["desk"].set_document("public_access_block", {})
        assert bytes(theirs["desk"].get("ours/a")) == b"ours"


def test_who_has_no_name_is_called_anonymous(vault):
    with vault.as_identity("anonymous") as theirs:
        assert repr(theirs).endswith("as anonymous>")
        for refused in (theirs.buckets, lambda: theirs.as_identity("x"), lambda: theirs["desk"].get("ours/a")):
            with pytest.raises(tv.AccessDeniedError, match=r"^anonymous "):
                refused()

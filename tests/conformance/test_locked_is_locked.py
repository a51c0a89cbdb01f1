"""Locked is locked: every door, every lock, every means of altering or deleting a locked version, in one table.

A row is refused with the right error, or the version can still be read afterwards with the same bytes and is as locked
as before, or the damage is detected by `verify` or by the read.  What is none of these is marked: it fails, strictly,
and says who is to catch it.

To add a means, write a function and its row; to add a role, add it to `ROLES` and let the doors act in it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import botocore.config
import botocore.exceptions
import pytest
from click.testing import CliRunner
from crc32c import crc32c

import tickvault as tv
from tickvault.cli.app import main
from tickvault.engine.record import BATCH, HEADER_SIZE, RECORD, batch_seed, decode_batch_header, decode_record
from tickvault.objects import entries
from tickvault.objects.entries import ENTRY_LOCK, decode_entry, encode_entry
from tickvault.objects.lifecycle import run_lifecycle
from tickvault.objects.lock.guard import LOCK_DOCUMENT
from tickvault.objects.model import ObjectInfo
from tickvault.objects.store import open_store

FAR = datetime(2100, 1, 1, tzinfo=UTC)
NEARER = datetime(2099, 1, 1, tzinfo=UTC)
BODY = b"bought 100 ESH6 at 5021.25"
DAY_NS = 86_400 * 10**9
#: Who acts, in the table; the roles out of the box have a table of their own.
ROLES = ("root",)
OTHER_ROLES = ("administrator", "auditor", "compliance-officer", "reader", "trader", "writer")


class Lock(NamedTuple):
    """What keeps the version, and whether whoever acts asks for governance to be bypassed."""

    mode: str | None
    hold: bool = False
    bypass: bool = False

    def __str__(self) -> str:
        return f"{self.mode or 'HOLD'}{' with bypass' if self.bypass else ''}"

    @property
    def yields(self) -> bool:
        return self.mode == "GOVERNANCE" and self.bypass and not self.hold


LOCKS = tuple(
    Lock(mode, hold, bypass)
    for (mode, hold), bypass in itertools.product(
        (("GOVERNANCE", False), ("COMPLIANCE", False), (None, True)), (False, True)
    )
)


class RefusedError(Exception):
    """A door said no; `why` is ``locked``, ``not empty`` or ``invalid``, whatever the door's own word is."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Subject:
    """A locked version, and what is known of it."""

    vault: tv.Vault
    bucket: str
    lock: Lock
    key: str = "orders/1"
    info: ObjectInfo = field(init=False)

    def __post_init__(self) -> None:
        made = self.vault.create_bucket(self.bucket, object_lock=True)
        until = None if self.lock.mode is None else FAR
        self.info = made.put(
            self.key, BODY, retention_mode=self.lock.mode, retain_until=until, legal_hold=self.lock.hold
        )

    @property
    def version_id(self) -> str:
        return self.info.version_id

    def seen(self) -> ObjectInfo:
        """What the vault says of the version now, its bytes having been read."""
        bucket = self.vault[self.bucket]
        assert bucket.get(self.key, version_id=self.version_id) == BODY
        return bucket.head(self.key, version_id=self.version_id)

    def check_kept(self) -> None:
        """It is there, with its bytes and its lock, and no delete takes it."""
        seen = self.seen()
        assert seen[:5] == self.info[:5]
        assert lock_of(seen) == lock_of(self.info)
        with pytest.raises(tv.LockedError):
            self.vault[self.bucket].delete(self.key, version_id=self.version_id)
        assert lock_of(self.seen()) == lock_of(self.info)


def lock_of(info: ObjectInfo) -> tuple[str | None, int, bool]:
    return info.retention_mode, info.retain_until_ns, info.legal_hold


# -- the doors: each means by its own name, each refusal in the same words


class PythonDoor:
    """The embedded door."""

    def __init__(self, subject: Subject, role: str) -> None:
        self.vault = subject.vault if role == "root" else subject.vault.as_identity(key_of(subject.vault, role)[0])
        self.on, self.key, self.version_id = self.vault[subject.bucket], subject.key, subject.version_id
        self.bypass = {"bypass_governance": subject.lock.bypass}

    def call(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except tv.LockedError:
            raise RefusedError("locked") from None
        except tv.AccessDeniedError:
            raise RefusedError("denied") from None
        except tv.NotEmptyError:
            raise RefusedError("not empty") from None
        except tv.InvalidInputError:
            raise RefusedError("invalid") from None

    def delete_version(self) -> None:
        self.call(self.on.delete, self.key, version_id=self.version_id, **self.bypass)

    def purge(self) -> None:
        page = self.call(self.on.list_versions_page)
        found = [(info.key, info.version_id) for info in page.versions]
        for result in self.call(self.on.delete_many, found, **self.bypass):
            if isinstance(result, (tv.LockedError, tv.AccessDeniedError)):
                raise RefusedError("locked")

    def marker_and_purge(self) -> None:
        assert self.call(self.on.delete, self.key).delete_marker
        self.purge()

    def overwrite(self) -> None:
        self.call(self.on.put, self.key, b"other")

    def overwrite_large(self) -> None:
        self.call(self.on.put, self.key, bytes(300_000))

    def copy_onto_itself(self) -> None:
        self.call(self.on.copy, self.key, self.key, version_id=self.version_id, metadata={"a": "b"})

    def multipart_over(self) -> None:
        upload = self.call(self.on.create_upload, self.key)
        part = self.on.put_part(self.key, upload.upload_id, 1, b"other")
        self.call(self.on.complete_upload, self.key, upload.upload_id, [(1, part.etag)])

    def delete_bucket(self) -> None:
        self.call(self.vault.delete_bucket, self.on.name)

    def suspend_versioning(self) -> None:
        self.call(self.on.set_versioning, "suspended")

    def turn_lock_off(self) -> None:
        self.call(self.on.set_document, LOCK_DOCUMENT, None)

    def drop_default(self) -> None:
        self.call(self.on.set_object_lock, None)

    def _retain(self, mode: str | None, until: datetime | None) -> None:
        self.call(self.on.retain, self.key, self.version_id, mode, until, **self.bypass)

    def shorten(self, mode: str) -> None:
        self._retain(mode, NEARER)

    def switch(self, mode: str) -> None:
        self._retain(mode, FAR)

    def empty(self) -> None:
        self._retain(None, None)

    def retag(self) -> None:
        self.call(self.on.set_tags, self.key, {"a": "b"}, version_id=self.version_id)


class S3Door:
    """The S3 door, by boto3, served by another process."""

    client: Any

    def __init__(self, subject: Subject, role: str) -> None:
        if role != "root":
            self.client = client_of(*key_of(subject.vault, role))
        self.here = {"Bucket": subject.bucket, "Key": subject.key}
        self.bucket = {"Bucket": subject.bucket}
        self.version = {"VersionId": subject.version_id}
        self.bypass = {"BypassGovernanceRetention": True} if subject.lock.bypass else {}

    def call(self, name: str, **arguments: Any) -> Any:
        words = {
            "AccessDenied": "locked",
            "InvalidBucketState": "locked",
            "BucketNotEmpty": "not empty",
            "MalformedXML": "invalid",
        }
        try:
            return getattr(self.client, name)(**arguments)
        except botocore.exceptions.ClientError as error:
            raise RefusedError(words[error.response["Error"]["Code"]]) from None

    def delete_version(self) -> None:
        self.call("delete_object", **self.here, **self.version, **self.bypass)

    def purge(self) -> None:
        listed = self.call("list_object_versions", **self.bucket)
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        answer = self.call("delete_objects", **self.bucket, Delete={"Objects": objects}, **self.bypass)
        for error in answer.get("Errors", []):
            assert error["Code"] == "AccessDenied"
            raise RefusedError("locked")

    def marker_and_purge(self) -> None:
        assert self.call("delete_object", **self.here)["DeleteMarker"]
        self.purge()

    def overwrite(self) -> None:
        self.call("put_object", **self.here, Body=b"other")

    def overwrite_large(self) -> None:
        self.call("put_object", **self.here, Body=bytes(300_000))

    def copy_onto_itself(self) -> None:
        source = {**self.here, **self.version}
        self.call("copy_object", **self.here, CopySource=source, MetadataDirective="REPLACE", Metadata={"a": "b"})

    def multipart_over(self) -> None:
        upload = {"UploadId": self.call("create_multipart_upload", **self.here)["UploadId"]}
        etag = self.call("upload_part", **self.here, **upload, PartNumber=1, Body=b"other")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        self.call("complete_multipart_upload", **self.here, **upload, MultipartUpload=parts)

    def delete_bucket(self) -> None:
        self.call("delete_bucket", **self.bucket)

    def suspend_versioning(self) -> None:
        self.call("put_bucket_versioning", **self.bucket, VersioningConfiguration={"Status": "Suspended"})

    def turn_lock_off(self) -> None:
        configuration = {"ObjectLockEnabled": "Disabled"}
        self.call("put_object_lock_configuration", **self.bucket, ObjectLockConfiguration=configuration)

    def drop_default(self) -> None:
        configuration = {"ObjectLockEnabled": "Enabled"}
        self.call("put_object_lock_configuration", **self.bucket, ObjectLockConfiguration=configuration)

    def _retain(self, **retention: Any) -> None:
        self.call("put_object_retention", **self.here, **self.version, **self.bypass, Retention=retention)

    def shorten(self, mode: str) -> None:
        self._retain(Mode=mode, RetainUntilDate=NEARER)

    def switch(self, mode: str) -> None:
        self._retain(Mode=mode, RetainUntilDate=FAR)

    def empty(self) -> None:
        self._retain()

    def retag(self) -> None:
        self.call("put_object_tagging", **self.here, **self.version, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})


class CommandDoor:
    """The command line."""

    def __init__(self, subject: Subject, role: str) -> None:
        self.path, self.bucket, self.place = str(subject.vault.path), subject.bucket, f"{subject.bucket}/{subject.key}"
        self.version = ("--version-id", subject.version_id)
        self.bypass = ("--bypass-governance",) if subject.lock.bypass else ()

    def call(self, *arguments: str, stdin: bytes = b"") -> None:
        words = {6: "locked", 5: "not empty", 2: "invalid"}
        result = CliRunner().invoke(main, [*arguments, "--vault", self.path], input=stdin, prog_name="tickvault")
        if result.exit_code:
            raise RefusedError(words.get(result.exit_code, result.stderr))

    def delete_version(self) -> None:
        self.call("rm", self.place, *self.version, *self.bypass)

    def purge(self) -> None:
        self.call("rm", "-r", self.bucket, "--versions", "--force", *self.bypass)

    def marker_and_purge(self) -> None:
        self.call("rm", self.place)
        self.purge()

    def overwrite(self) -> None:
        self.call("put", "-", self.place, stdin=b"other")

    def overwrite_large(self) -> None:
        self.call("put", "-", self.place, stdin=bytes(300_000))

    def copy_onto_itself(self) -> None:
        self.call("cp", self.place, self.place, *self.version)

    multipart_over = None
    """It uploads in one piece."""

    def delete_bucket(self) -> None:
        self.call("bucket", "delete", self.bucket)

    def delete_bucket_recursively(self) -> None:
        self.call("bucket", "delete", self.bucket, "--recursive")

    suspend_versioning = turn_lock_off = retag = None
    """There is no command."""

    def drop_default(self) -> None:
        self.call("lock", "enable", self.bucket)

    def _retain(self, *retention: str) -> None:
        self.call("lock", "set", self.place, *self.version, *self.bypass, *retention)

    def shorten(self, mode: str) -> None:
        self._retain("--mode", mode, "--until", NEARER.isoformat())

    def switch(self, mode: str) -> None:
        self._retain("--mode", mode, "--until", FAR.isoformat())

    def empty(self) -> None:
        self._retain("--none")


DOORS = {"python": PythonDoor, "s3": S3Door, "command": CommandDoor}

# -- the table of what a door can be asked for

KEPT, CHANGED, GONE = "kept", "changed", "gone"


def unless_it_yields(outcome: str) -> Callable[[Lock], str]:
    """Refused, but to who may bypass governance and says so."""
    return lambda lock: outcome if lock.yields else "locked"


def retention_only(outcome: str) -> Callable[[Lock], str]:
    """The same for a change of the retention, of which a held version has none: the hold keeps it, whatever is set."""
    return lambda lock: CHANGED if lock.mode is None else outcome if lock.yields else "locked"


def always(outcome: str) -> Callable[[Lock], str]:
    return lambda lock: outcome


def same_mode(lock: Lock) -> str:
    return lock.mode or "GOVERNANCE"


def other_mode(lock: Lock) -> str:
    return "COMPLIANCE" if lock.mode == "GOVERNANCE" else "GOVERNANCE"


class Means(NamedTuple):
    """Something that a door can be asked for, and what comes of it."""

    name: str
    outcome: Callable[[Lock], str]
    """``kept``, ``changed`` (its lock, lawfully), ``gone`` (lawfully), or why it is refused."""
    argument: Callable[[Lock], str] | None = None


MEANS = (
    Means("delete_version", unless_it_yields(GONE)),
    Means("purge", unless_it_yields(GONE)),
    Means("marker_and_purge", unless_it_yields(GONE)),
    Means("overwrite", always(KEPT)),
    Means("overwrite_large", always(KEPT)),
    Means("copy_onto_itself", always(KEPT)),
    Means("multipart_over", always(KEPT)),
    Means("retag", always(KEPT)),
    Means("delete_bucket", always("not empty")),
    # It has no --bypass-governance.
    Means("delete_bucket_recursively", always("locked")),
    Means("suspend_versioning", always("locked")),
    Means("turn_lock_off", lambda lock: "locked or invalid"),
    Means("drop_default", always(KEPT)),
    Means("shorten", retention_only(CHANGED), same_mode),
    Means("switch", retention_only(CHANGED), other_mode),
    Means("empty", lambda lock: KEPT if lock.mode is None else CHANGED if lock.yields else "locked"),
)
ROWS = [
    pytest.param(door, lock, means, role, id=f"{door}-{role}-{means.name}-{lock}")
    for door, lock, means, role in itertools.product(DOORS, LOCKS, MEANS, ROLES)
    if getattr(DOORS[door], means.name, None) is not None
]

_SERVER = """
import json, sys
from tickvault.doors.s3.server import serve

def ready(endpoint):
    with open(endpoint.credentials_path) as file:
        pair = json.load(file)
    print(json.dumps([endpoint.url, pair["access_key"], pair["secret_key"]]), flush=True)

serve(sys.argv[1], port=0, workers=1, grace_s=2.0, on_ready=ready)
"""
_numbers = itertools.count(1)
_url = ""
_keys: dict[tuple[str, str], tuple[str, str]] = {}
_clients: dict[str, Any] = {}


def key_of(vault: tv.Vault, role: str) -> tuple[str, str]:
    """The key pair of a user that has a role, made at first use."""
    found = _keys.get((vault.path, role))
    if found is None:
        vault.identities.create_user(role)
        vault.identities.attach_policy(role, user=role)
        made = vault.identities.create_access_key(user=role)
        found = _keys[vault.path, role] = made.id, made.secret.reveal()
    return found


def client_of(access_key: str, secret_key: str) -> Any:
    if access_key not in _clients:
        config = botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        _clients[access_key] = boto3.client(
            "s3",
            endpoint_url=_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=config,
        )
    return _clients[access_key]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tv.Vault]:
    """A vault that is served over S3 and open in this process, too."""
    path = tmp_path_factory.mktemp("locked") / "data"
    process = subprocess.Popen([sys.executable, "-c", _SERVER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url, access_key, secret_key = json.loads(process.stdout.readline())
    global _url
    _url = url
    S3Door.client = client_of(access_key, secret_key)
    with tv.open(path) as vault:
        yield vault
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    process.stdout.close()


@pytest.mark.parametrize(("door", "lock", "means", "role"), ROWS)
def test_a_door(served: tv.Vault, door: str, lock: Lock, means: Means, role: str) -> None:
    subject = Subject(served, f"kept-{next(_numbers)}", lock)
    outcome = means.outcome(lock)
    acting = DOORS[door](subject, role)
    why = None
    try:
        getattr(acting, means.name)(*(() if means.argument is None else (means.argument(lock),)))
    except RefusedError as error:
        why = error.why
    if outcome == GONE:
        assert why is None
        with pytest.raises(tv.NotFoundError):
            subject.seen()
        return
    if outcome == CHANGED:
        assert why is None
        assert subject.seen().legal_hold is lock.hold
        assert lock_of(subject.seen()) != lock_of(subject.info)
        return
    if outcome == KEPT:
        assert why is None
    else:
        assert why is not None
        assert why in outcome
    subject.check_kept()


@pytest.mark.parametrize("role", OTHER_ROLES)
@pytest.mark.parametrize("door", [name for name, door in DOORS.items() if door in (PythonDoor, S3Door)])
def test_the_roles_out_of_the_box(served: tv.Vault, door: str, role: str) -> None:
    """Every means, for every lock: whatever a role may, nobody but the officer who bypasses GOVERNANCE weakens a lock,
    and not even they remove the version.
    """
    for lock, means in itertools.product(LOCKS, MEANS):
        if getattr(DOORS[door], means.name, None) is None:
            continue
        subject = Subject(served, f"kept-{next(_numbers)}", lock)
        acting = DOORS[door](subject, role)
        try:
            getattr(acting, means.name)(*(() if means.argument is None else (means.argument(lock),)))
        except RefusedError:
            pass
        seen = subject.seen()  # it is there, with its bytes
        assert seen.legal_hold is lock.hold
        if role == "compliance-officer" and lock.yields:
            continue
        if lock.mode is not None:
            assert lock_of(seen) == lock_of(subject.info), (role, means.name, lock)
        with pytest.raises(tv.LockedError):
            served[subject.bucket].delete(subject.key, version_id=subject.version_id)


# -- what is done to the vault: upkeep, clocks, files


class Place:
    """A vault in a folder of its own with a locked version in it, which is opened, closed, and meddled with."""

    def __init__(self, folder: Path, lock: Lock) -> None:
        self.path = folder / "data"
        self.folder = folder
        self.clock = StandingClock()
        self.host = StandingHost()
        self.lock = lock
        self.vault = self.open()
        self.subject = Subject(self.vault, "kept", lock)

    def open(self) -> tv.Vault:
        self.vault = tv.open(self.path, clock=self.clock, host=self.host)
        if hasattr(self, "subject"):
            self.subject.vault = self.vault
        return self.vault

    def segment(self) -> tuple[Path, int]:
        """The segment file that holds the version's record, and where in it."""
        for path in sorted((self.path / "segments").glob("*.seg")):
            at = path.read_bytes().find(BODY)
            if at >= 0:
                return path, at
        raise AssertionError("no segment holds the body")

    def edit_index(self, key: bytes, value: bytes | None) -> None:
        """Change an entry behind the vault's back."""
        engine = self.vault.store.engine
        engine.checkpoint(wait=True)
        for environment in (engine.index.index, engine.index.recent):
            txn = environment.begin(write=True)
            if value is None:
                txn.delete(key)
            elif environment is engine.index.index:
                txn.put(key, value)
            txn.commit()

    def entry(self, tag: bytes) -> tuple[bytes, bytes]:
        bucket_id = self.vault["kept"].bucket_id
        raw_key = self.subject.key.encode()
        key = (
            entries.object_key(bucket_id, raw_key)
            if tag == b"O"
            else entries.lock_key(bucket_id, raw_key, self.subject.info.sequence)
        )
        raw = self.vault.store.engine.index.get(key)
        assert raw is not None
        return key, raw


class StandingClock:
    """Time that is moved by hand."""

    def __init__(self) -> None:
        self.time_ns = time.time_ns()
        self.counted_ns = 10**15

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        return self.counted_ns

    def error_ns(self) -> int:
        return -1


class StandingHost:
    """A machine that can be started again."""

    boot = 1

    def boot_id(self) -> bytes:
        return self.boot.to_bytes(16, "little")

    def pid_namespace(self) -> int:
        return 1

    def random_u64(self) -> int:
        return int.from_bytes(os.urandom(8), "little") or 1


CENTURY_DAYS = 36_500


def lifecycle(place: Place) -> None:
    """Rules that remove every noncurrent version at once, and every current one."""
    bucket = place.vault["kept"]
    bucket.put(place.subject.key, b"newer")
    action = {"noncurrent_version_expiration": {"noncurrent_days": 1}, "expiration": {"days": 1}}
    bucket.set_document("lifecycle", {"rules": [{"id": "all", "status": "Enabled", **action}]})
    place.clock.time_ns += CENTURY_DAYS // 2 * DAY_NS
    for _ in range(3):
        assert [one.error for one in run_lifecycle(place.vault.store).buckets] == [None]


def compact(place: Place) -> None:
    for number in range(200):
        place.vault["kept"].put(f"other/{number}", bytes(20_000))
    place.vault.store.engine.checkpoint(wait=True)
    place.vault.compact(dead_ratio_min=0)


def compact_and_rebuild(place: Place) -> None:
    place.vault["kept"].set_tags(place.subject.key, {"a": "b"})
    compact(place)
    rebuild(place)


def rebuild(place: Place) -> None:
    place.vault.close()
    open_store(place.path, create=False, rebuild=True, clock=place.clock, host=place.host).close()
    place.open()


def verify(place: Place) -> None:
    assert place.vault.verify(heal=True).sound


def clock_forward(place: Place) -> None:
    place.clock.time_ns += CENTURY_DAYS * DAY_NS
    place.vault.store.lock_clock.observe()


def clock_forward_and_back(place: Place) -> None:
    clock_forward(place)
    place.clock.time_ns -= CENTURY_DAYS * DAY_NS
    place.vault.store.lock_clock.observe()


def clock_forward_while_closed(place: Place) -> None:
    place.vault.close()
    place.clock.time_ns += CENTURY_DAYS * DAY_NS
    place.open()


def other_boot(place: Place) -> None:
    place.vault.close()
    place.host.boot += 1
    place.clock.counted_ns = 0
    place.clock.time_ns += CENTURY_DAYS * DAY_NS
    place.open()


def other_machine(place: Place) -> None:
    """One that has been running for a century."""
    place.vault.close()
    place.host.boot += 1
    place.clock.counted_ns += CENTURY_DAYS * DAY_NS
    place.open()


def restore_an_older_backup(place: Place) -> None:
    """A backup from before the version was locked cannot be restored over the vault."""
    place.vault.backup(place.folder / "backup")
    with pytest.raises(tv.AlreadyExistsError):
        tv.restore(place.folder / "backup", place.path)


def index_deleted(place: Place) -> None:
    place.vault.close()
    for name in ("index", "recent"):
        shutil.rmtree(place.path / name, ignore_errors=True)
    place.open()


def index_entry_lost(place: Place) -> None:
    place.edit_index(place.entry(b"O")[0], None)
    assert place.vault.verify().index_differences


def index_lock_lost(place: Place) -> None:
    place.edit_index(place.entry(b"L")[0], None)
    with pytest.raises(tv.LockedError):
        place.vault["kept"].retain(place.subject.key, None, None, None, bypass_governance=True)
    assert place.vault.verify().index_differences


def index_flag_cleared(place: Place) -> None:
    """An entry that says, with a right checksum, that the version has no lock; `verify` before anybody uses it."""
    key, raw = place.entry(b"O")
    entry = decode_entry(key, raw)
    place.edit_index(key, encode_entry(key, entry._replace(flags=entry.flags & ~ENTRY_LOCK)))
    assert place.vault.verify().index_differences


UPKEEP = (
    lifecycle,
    compact,
    compact_and_rebuild,
    rebuild,
    verify,
    clock_forward,
    clock_forward_and_back,
    clock_forward_while_closed,
    other_boot,
    other_machine,
    restore_an_older_backup,
    index_deleted,
    index_entry_lost,
    index_lock_lost,
    index_flag_cleared,
)


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if not lock.bypass], ids=str)
@pytest.mark.parametrize("means", UPKEEP, ids=lambda means: means.__name__)
def test_upkeep_clocks_and_the_index(tmp_path: Path, lock: Lock, means: Callable[[Place], None]) -> None:
    place = Place(tmp_path, lock)
    try:
        means(place)
        place.subject.check_kept()
        assert place.vault.verify().sound
    finally:
        place.vault.close()


# -- bytes edited and files removed: detected, if they cannot be refused


def segment_edited(place: Place) -> None:
    """The bytes of the order, and nothing else."""
    path, at = place.segment()
    write_at(path, at, b"sold  ")


def segment_edited_when_closed(place: Place) -> None:
    place.vault.close()
    segment_edited(place)
    place.open()


def segment_edited_and_rebuilt(place: Place) -> None:
    segment_edited(place)
    rebuild(place)


def segment_removed(place: Place) -> None:
    path, _ = place.segment()
    place.vault.close()
    path.unlink()
    place.open()


def segment_cut_off(place: Place) -> None:
    path, at = place.segment()
    place.vault.close()
    with path.open("r+b") as file:
        file.truncate(at)
    place.open()


def record_wiped(place: Place) -> None:
    """The record and the header of its batch, as if they had never been written."""
    offset, length = batch_of(place)
    path, _ = place.segment()
    place.vault.close()
    write_at(path, offset, bytes(length))
    place.open()


def older_vault_put_in_its_place(place: Place) -> None:
    """Files of the vault from before the version was written, over those of now: control page and all."""
    place.vault.close()
    older = place.folder / "older"
    with tv.open(older, clock=place.clock, host=place.host) as vault:
        vault.create_bucket("kept", object_lock=True)
    shutil.rmtree(place.path)
    shutil.copytree(older, place.path)
    place.open()


def segment_edited_with_checksums(place: Place) -> None:
    """Whoever can write the file can compute its checksums, which are no secret."""
    path, at = place.segment()
    place.vault.close()
    rewrite(place, path, at, b"sold  ", open_again=True)


def index_lock_cleared_and_version_deleted(place: Place) -> None:
    """As above, and its lock removed, and the version by an ordinary delete before anybody verifies."""
    place.edit_index(place.entry(b"L")[0], None)
    key, raw = place.entry(b"O")
    entry = decode_entry(key, raw)
    place.edit_index(key, encode_entry(key, entry._replace(flags=entry.flags & ~ENTRY_LOCK)))
    place.vault["kept"].delete(place.subject.key, version_id=place.subject.version_id)


def write_at(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def batch_of(place: Place) -> tuple[int, int]:
    """Offset and length of the batch that holds the version's record."""
    path, at = place.segment()
    view = memoryview(path.read_bytes())
    segment_id = int("".join(letter for letter in path.stem if letter.isdigit()))
    for offset in range(at - at % 64, -1, -64):
        batch = decode_batch_header(
            view, offset, len(view), batch_seed(place.vault.store.engine.vault_id, segment_id, offset)
        )
        if batch is not None:
            return offset, batch.length
    raise AssertionError("no batch holds the record")


def rewrite(place: Place, path: Path, at: int, data: bytes, *, open_again: bool) -> None:
    """Change bytes of a body, with the checksums of its record and of its batch."""
    vault_id = place.vault.store.engine.vault_id
    raw = bytearray(path.read_bytes())
    offset, _ = batch_of(place)
    raw[at : at + len(data)] = data
    record_at = next(
        place_
        for place_ in range(at - at % 64, offset, -64)
        if (found := decode_record(memoryview(raw), place_, len(raw))) is not None and found.key == b"orders/1"
    )
    fields = RECORD.unpack_from(raw, record_at)
    header_length, body_length = fields[7], fields[12]
    end = record_at + header_length + body_length
    raw[record_at : record_at + 4] = int(crc32c(bytes(raw[record_at + 4 : end]))).to_bytes(4, "little")
    segment_id = int("".join(letter for letter in path.stem if letter.isdigit()))
    seed = batch_seed(vault_id, segment_id, offset)
    batch = list(BATCH.unpack_from(raw, offset))
    crcs, position = b"", offset + HEADER_SIZE
    for _ in range(batch[8]):
        crcs += raw[position : position + 4]
        position += RECORD.unpack_from(raw, position)[5]
    batch[9] = int(crc32c(crcs))
    raw[offset : offset + HEADER_SIZE] = BATCH.pack(*batch)
    raw[offset + 4 : offset + 8] = int(crc32c(bytes(raw[offset + 8 : offset + HEADER_SIZE]), seed)).to_bytes(
        4, "little"
    )
    write_at(path, 0, bytes(raw))
    for name in ("index", "recent"):
        shutil.rmtree(place.path / name, ignore_errors=True)
    if open_again:
        place.open()


TAMPERING = (
    segment_edited,
    segment_edited_when_closed,
    segment_edited_and_rebuilt,
    segment_removed,
    segment_cut_off,
    record_wiped,
    older_vault_put_in_its_place,
    segment_edited_with_checksums,
    index_lock_cleared_and_version_deleted,
)


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if not lock.bypass], ids=str)
@pytest.mark.parametrize("means", TAMPERING, ids=lambda means: means.__name__)
def test_tampering(tmp_path: Path, lock: Lock, means: Callable[[Place], None]) -> None:
    """It is detected: by the opening, by the read, by `verify`, or by the audit trail and its head that was kept."""
    place = Place(tmp_path, lock)
    head = place.vault.audit.head()
    try:
        try:
            means(place)
        except (tv.IntegrityError, tv.FormatError, tv.StorageError):
            return  # the vault does not even open
        report = place.vault.verify(heal=False)
        detected = not report.sound or bool(report.index_differences)
        detected = detected or not place.vault.audit.verify(expected_head=head).ok or not place.vault.reconcile().ok
        try:
            found = place.vault["kept"].get("orders/1", version_id=place.subject.version_id)
        except tv.IntegrityError:
            detected = True
        except tv.NotFoundError:
            assert detected, "the version is gone, and nobody says so"
        else:
            # Whoever makes the checksums right again is found out by the trail alone.
            assert found == BODY or means is segment_edited_with_checksums, "other bytes were handed out"
        assert detected, "nobody says that the file was edited"
    finally:
        place.vault.close()

"""A bucket in the hands of an identity: each verb asks first, and its changes are attributed to whoever asks.

Invariants: every public verb of `Bucket` has a rule here (a test compares the two), and one without a rule may be used
by nobody but the root; of a `delete_many`, what may not be deleted is refused by itself; no `BucketInfo` that comes
from here holds a settings document that its reader may not read.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tickvault.engine.attribution import calling
from tickvault.errors import AccessDeniedError, TickVaultError
from tickvault.objects.authority import Authority, bucket_arn, object_arn
from tickvault.objects.bucket import Bucket
from tickvault.objects.condition_keys import (
    Keys,
    Values,
    copy_source_key,
    lock_keys,
    moment_keys,
    tag_keys,
    used_encryption_keys,
)
from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT, EncryptionRequest
from tickvault.objects.lock.retention import ObjectLock, until_ns_of
from tickvault.objects.model import BucketInfo, DeleteResult
from tickvault.objects.put import ObjectWriter
from tickvault.objects.state import BucketState

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

Arguments = Mapping[str, Any]
#: Given a verb's arguments by name: the actions to ask for, on the object that they name.
Rule = Callable[[Arguments], Iterable[str]]

#: Settings document -> the action that changes it; others are the root's.
SETTINGS = {
    "acl": "s3:PutBucketAcl",
    "audit": "s3:PutBucketLogging",
    "cors": "s3:PutBucketCORS",
    "encryption": "s3:PutEncryptionConfiguration",
    "lifecycle": "s3:PutLifecycleConfiguration",
    "object_lock": "s3:PutBucketObjectLockConfiguration",
    "policy": "s3:PutBucketPolicy",
    "public_access_block": "s3:PutBucketPublicAccessBlock",
    "tagging": "s3:PutBucketTagging",
}
#: Settings document -> the action that reads it, as at the S3 door.
READS_SETTING = {
    "acl": "s3:GetBucketAcl",
    "audit": "s3:GetBucketLogging",
    "cors": "s3:GetBucketCORS",
    "encryption": "s3:GetEncryptionConfiguration",
    "lifecycle": "s3:GetLifecycleConfiguration",
    "location": "s3:GetBucketLocation",
    "object_lock": "s3:GetBucketObjectLockConfiguration",
    "policy": "s3:GetBucketPolicy",
    "policy_principals": "s3:GetBucketPolicy",
    "public_access_block": "s3:GetBucketPublicAccessBlock",
    "tagging": "s3:GetBucketTagging",
}
_ROOT_ONLY = "tickvault:Unlisted"
#: Entries of a listing that one decision is good for.
_PAGE_COUNT = 1000


def _versioned(action: str, version_action: str) -> Rule:
    return lambda asked: [version_action if asked.get("version_id") is not None else action]


def _plain(*actions: str) -> Rule:
    return lambda asked: actions


def _written(asked: Arguments) -> Iterable[str]:
    yield "s3:PutObject"
    if asked.get("tags"):
        yield "s3:PutObjectTagging"
    lock = asked.get("lock")
    if asked.get("retention_mode") is not None or (lock is not None and lock.retention_mode is not None):
        yield "s3:PutObjectRetention"
    if asked.get("legal_hold") or (lock is not None and lock.legal_hold):
        yield "s3:PutObjectLegalHold"
    if "x-amz-acl" in _header_names(asked):
        yield "s3:PutObjectAcl"
    yield from _compared(asked)


def _headers_set(asked: Arguments) -> Iterable[str]:
    names = _header_names(asked)
    if names != {"x-amz-acl"}:
        yield "s3:PutObject"
    if "x-amz-acl" in names:
        yield "s3:PutObjectAcl" if asked.get("version_id") is None else "s3:PutObjectVersionAcl"


def _header_names(asked: Arguments) -> set[str]:
    return {str(name).lower() for name in asked.get("headers") or ()}


def _compared(asked: Arguments) -> Iterable[str]:
    # Whether a condition on what is stored holds tells something of it.
    if asked.get("if_match") is not None:
        yield "s3:GetObject"


def _completed(asked: Arguments) -> Iterable[str]:
    yield "s3:PutObject"
    yield from _compared(asked)


def _deleted(asked: Arguments) -> Iterable[str]:
    yield "s3:DeleteObject" if asked.get("version_id") is None else "s3:DeleteObjectVersion"
    if asked.get("bypass_governance"):
        yield "s3:BypassGovernanceRetention"
    yield from _compared(asked)


def _retained(asked: Arguments) -> Iterable[str]:
    yield "s3:PutObjectRetention"
    if asked.get("bypass_governance"):
        yield "s3:BypassGovernanceRetention"


_READ = _versioned("s3:GetObject", "s3:GetObjectVersion")
_READ_TAGS = _versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging")
_PUT_PART = _plain("s3:PutObject")

#: Verb about one object -> its rule.
ON_OBJECT: Mapping[str, Rule] = {
    "get": _READ,
    "get_ranges": _READ,
    "read": _READ,
    "read_resident": _READ,
    "head": _READ,
    "put": _written,
    "put_operation": _written,
    "open_writer": _written,
    "delete": _deleted,
    "delete_operation": _deleted,
    "get_tags": _READ_TAGS,
    "set_tags": _versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    "set_headers": _headers_set,
    "retain": _retained,
    "hold": _plain("s3:PutObjectLegalHold"),
    "create_upload": _written,
    "put_part": _PUT_PART,
    "open_part_writer": _PUT_PART,
    "complete_upload": _completed,
    "abort_upload": _plain("s3:AbortMultipartUpload"),
    "upload_info": _plain("s3:ListMultipartUploadParts"),
    "list_parts_page": _plain("s3:ListMultipartUploadParts"),
}
#: Verb about the bucket -> its rule.
ON_BUCKET: Mapping[str, Rule] = {
    "list": _plain("s3:ListBucket"),
    "list_page": _plain("s3:ListBucket"),
    "versions": _plain("s3:ListBucketVersions"),
    "list_versions_page": _plain("s3:ListBucketVersions"),
    "list_uploads_page": _plain("s3:ListBucketMultipartUploads"),
    "set_versioning": _plain("s3:PutBucketVersioning"),
    "set_durability": _plain("s3:PutBucketVersioning"),
    "set_object_lock": _plain("s3:PutBucketObjectLockConfiguration"),
    "set_encryption": _plain("s3:PutEncryptionConfiguration"),
    "rewrap": _plain("tickvault:ManageKeys"),
    "audit_reads": _plain(SETTINGS["audit"]),
    "set_document": lambda asked: [SETTINGS.get(asked["name"], _ROOT_ONLY)],
}
#: Verbs that ask for each object themselves, below.
BY_HAND = frozenset({"get_many", "put_many", "delete_many", "copy", "info"})


class ReadableDocuments(dict[str, Any]):
    """The settings documents that somebody may read; to ask for another is refused, whether it is there or not."""

    def __init__(self, given: Iterable[tuple[str, Any]] = (), refuse: Callable[[str], None] | None = None) -> None:
        super().__init__(given)
        self._refuse = refuse

    def __missing__(self, name: str) -> Any:
        """Refuse a document that may not be read."""
        if self._refuse is not None and isinstance(name, str):
            self._refuse(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        """Whether it is there, for whoever may read it."""
        try:
            self[name]  # type: ignore[index]
        except KeyError:
            return False
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Return a document, for whoever may read it."""
        try:
            return self[name]
        except KeyError:
            return default

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is of what could be read, and asks nobody."""
        return dict, (dict(self),)


def readable_info(info: BucketInfo, authority: Authority) -> BucketInfo:
    """Return what somebody may know of a bucket who may know that there is one."""

    def may(name: str) -> bool:
        action = READS_SETTING.get(name, _ROOT_ONLY)
        return not authority.refusal_of(action, bucket_arn(info.name), info)

    def refuse(name: str) -> None:
        authority.check(READS_SETTING.get(name, _ROOT_ONLY), bucket_arn(info.name), bucket=info)

    readable = [(name, document) for name, document in info.documents.items() if may(name)]
    return replace(info, documents=ReadableDocuments(readable, refuse))


class AuthorizedBucket(Bucket):
    """A bucket that asks an authority."""

    def __init__(self, store: ObjectStore, state: BucketState, authority: Authority) -> None:
        super().__init__(store, state)
        self.authority = authority
        self.actor = authority.actor

    @property
    def info(self) -> BucketInfo:
        """As `Bucket.info`, with the settings documents that may be read."""
        self.ask(["s3:ListBucket"], None, {})
        return readable_info(self.state.current(self.store), self.authority)

    def ask(self, actions: Iterable[str], key: str | None, asked: Arguments, *, writes: bool = False) -> None:
        """Raise unless every action is allowed on an object, or on the bucket for `key` None.

        Parameters
        ----------
        writes : bool
            It begins a version of its own, which is encrypted as it, or the bucket, says.
        """
        info = self.state.current(self.store)
        resource = bucket_arn(self.name) if key is None else object_arn(self.name, key)
        version_id = asked.get("version_id")
        setting = info.documents.get(ENCRYPTION_DOCUMENT)
        question = _Asked(asked, self.authority, setting, on_object=key is not None, writes=writes)
        # What is stored is looked up by a handle that asks nobody.
        plain = Bucket(self.store, self.state)
        plain.embedded = False

        def keys(reads: frozenset[str], action: str) -> Keys:
            return Keys(question, reads, plain, key or "", version_id, action)

        for action in actions:
            self.authority.check(action, resource, bucket=info, key=key or "", version_id=version_id, keys=keys)

    def get_many(self, keys: Iterable[str]) -> list[Any]:
        """As `Bucket.get_many`; all of them may be read, or none is."""
        keys = list(keys)
        for key in keys:
            self.ask(["s3:GetObject"], key, {})
        return super().get_many(keys)

    def put_many(self, items: Iterable[tuple[str, Any]]) -> list[Any]:
        """As `Bucket.put_many`; all of them may be written, or none is."""
        items = list(items)
        for item in items:
            if isinstance(item, Sequence) and len(item) == 2 and isinstance(item[0], str):
                self.ask(["s3:PutObject"], item[0], {}, writes=True)
        with calling(self.authority.caller):
            return super().put_many(items)

    def delete_many(
        self, keys: Sequence[str | tuple[str, str | None]], *, bypass_governance: bool = False
    ) -> list[DeleteResult | TickVaultError]:
        """As `Bucket.delete_many`; what may not be deleted is an error in the list."""
        results: list[DeleteResult | TickVaultError | None] = []
        allowed = []
        for item in keys:
            key, version_id = item if isinstance(item, tuple) else (item, None)
            asked = {"version_id": version_id, "bypass_governance": bypass_governance}
            try:
                self.ask(_deleted(asked), key, asked)
            except AccessDeniedError as error:
                results.append(error)
            else:
                results.append(None)
                allowed.append(item)
        with calling(self.authority.caller):
            done = iter(super().delete_many(allowed, bypass_governance=bypass_governance) if allowed else ())
        return [next(done) if result is None else result for result in results]

    def copy(self, key: str, dest_key: str, *, dest_bucket: Bucket | None = None, **options: Any) -> Any:
        """As `Bucket.copy`; the source is read and the destination written by the same identity."""
        read = {"version_id": options.get("version_id")}
        self.ask(_READ(read), key, read)
        # What the copy keeps of its source is what the store acts on: conditions see it as if it had been asked for.
        kept: dict[str, Any] = {}
        plain = Bucket(self.store, self.state)
        plain.embedded = False
        info = plain.head(key, version_id=options.get("version_id"))
        if options.get("tags") is None and info.tag_count:
            self.ask(_READ_TAGS(read), key, read)
            kept["tags"] = plain.get_tags(key, version_id=info.version_id)
        if options.get("metadata") is None:
            kept["headers"] = info.headers
        target = dest_bucket or self
        if not isinstance(target, AuthorizedBucket):
            target = AuthorizedBucket(target.store, target.state, self.authority)
        written = {**options, **kept, "version_id": None, "copy_source": (self.name, key)}
        target.ask(_written(written), dest_key, written, writes=True)
        with calling(self.authority.caller):
            return super().copy(key, dest_key, dest_bucket=target, **options)


class _Asked:
    """What a verb asks, by its arguments, as conditions see it."""

    def __init__(
        self,
        asked: Arguments,
        authority: Authority,
        setting: Mapping[str, Any] | None,
        *,
        on_object: bool,
        writes: bool,
    ) -> None:
        self._asked = asked
        self._setting = setting
        self._on_object = on_object
        self._writes = writes
        self.upload_id: str | None = asked.get("upload_id")
        self.clock = authority.now_s

    def common(self, reads: frozenset[str]) -> Mapping[str, Values]:
        """Return its keys."""
        asked, now_s = self._asked, self.clock()
        keys = moment_keys(now_s)
        if not self._on_object:
            for name, key in (("prefix", "s3:prefix"), ("delimiter", "s3:delimiter"), ("limit", "s3:max-keys")):
                if asked.get(name) is not None:
                    keys[key] = str(asked[name])
            if asked.get("name") == "acl":
                keys["s3:x-amz-acl"] = str(asked.get("value") or "private")
            return keys
        tags = asked.get("tags") or asked.get("tag_set")
        if tags:
            keys.update(tag_keys({str(name): str(value) for name, value in tags.items()}))
        keys.update(_asked_lock_keys(asked, now_s))
        if self._writes:
            keys.update(used_encryption_keys(self._setting, EncryptionRequest.of(asked.get("encryption"))))
        headers = {str(name).lower(): value for name, value in (asked.get("headers") or {}).items()}
        for name in ("x-amz-acl", "x-amz-storage-class"):
            if headers.get(name) is not None:
                keys[f"s3:{name}"] = str(headers[name])
        if "x-amz-acl" in headers and headers["x-amz-acl"] is None:
            keys["s3:x-amz-acl"] = "private"  # taken away
        if "copy_source" in asked:
            keys.update(copy_source_key(*asked["copy_source"]))
            # As at S3, where one header says of both whether they are kept.
            keys["s3:x-amz-metadata-directive"] = "COPY" if asked.get("metadata") is None else "REPLACE"
        return keys


def _asked_lock_keys(asked: Arguments, now_s: float) -> dict[str, Values]:
    lock: ObjectLock | None = asked.get("lock")
    if lock is not None:
        return lock_keys(lock.retention_mode, lock.retain_until_ns or None, "ON" if lock.legal_hold else None, now_s)
    until = asked.get("retain_until", asked.get("until"))
    hold = None
    if "on" in asked:
        hold = "ON" if asked["on"] else "OFF"
    elif asked.get("legal_hold"):
        hold = "ON"
    mode = asked.get("retention_mode", asked.get("mode"))
    return lock_keys(mode, None if until is None else until_ns_of(until), hold, now_s)


def _asking_on(found: Iterator[Any], ask: Callable[[], None]) -> Iterator[Any]:
    """Iterate over a listing, asking again with every page."""
    for number, one in enumerate(found):
        if number and number % _PAGE_COUNT == 0:
            ask()
        yield one


def _asking(name: str, rule: Rule, *, on_object: bool) -> Callable[..., Any]:
    plain = getattr(Bucket, name)
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def verb(self: AuthorizedBucket, *args: Any, **kwargs: Any) -> Any:
        asked = signature.bind(self, *args, **kwargs).arguments
        key = asked["key"] if on_object else None

        def ask() -> None:
            self.ask(rule(asked), key, asked, writes=rule is _written)

        ask()
        with calling(self.authority.caller):
            found = plain(self, *args, **kwargs)
        # What goes on after this is asked about again: rights are those of now.
        if isinstance(found, ObjectWriter):
            found.may_commit = ask
        elif isinstance(found, BucketInfo):
            return readable_info(found, self.authority)
        elif isinstance(found, Iterator):
            return _asking_on(found, ask)
        return found

    return verb


for _name, _rule in ON_OBJECT.items():
    setattr(AuthorizedBucket, _name, _asking(_name, _rule, on_object=True))
for _name, _rule in ON_BUCKET.items():
    if hasattr(Bucket, _name):
        setattr(AuthorizedBucket, _name, _asking(_name, _rule, on_object=False))

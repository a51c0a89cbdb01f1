"""A bucket in the hands of an identity: each verb asks first, and its changes are attributed to whoever asks.

Invariants: every public verb of `Bucket` has a rule here (a test compares the two), and one without a rule may be used
by nobody but the root; of a `delete_many`, what may not be deleted is refused by itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tickvault.engine.attribution import calling
from tickvault.errors import AccessDeniedError, TickVaultError
from tickvault.objects.authority import Authority, bucket_arn, object_arn
from tickvault.objects.bucket import Bucket
from tickvault.objects.lock.retention import time_text
from tickvault.objects.model import DeleteResult
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
_ROOT_ONLY = "tickvault:Unlisted"


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


def _deleted(asked: Arguments) -> Iterable[str]:
    yield "s3:DeleteObject" if asked.get("version_id") is None else "s3:DeleteObjectVersion"
    if asked.get("bypass_governance"):
        yield "s3:BypassGovernanceRetention"


def _retained(asked: Arguments) -> Iterable[str]:
    yield "s3:PutObjectRetention"
    if asked.get("bypass_governance"):
        yield "s3:BypassGovernanceRetention"


_READ = _versioned("s3:GetObject", "s3:GetObjectVersion")
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
    "get_tags": _versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    "set_tags": _versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    "set_headers": _plain("s3:PutObject"),
    "retain": _retained,
    "hold": _plain("s3:PutObjectLegalHold"),
    "create_upload": _written,
    "put_part": _PUT_PART,
    "open_part_writer": _PUT_PART,
    "complete_upload": _PUT_PART,
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
BY_HAND = frozenset({"get_many", "put_many", "delete_many", "copy"})
#: What every handle may tell.
FREE = frozenset({"info"})


class AuthorizedBucket(Bucket):
    """A bucket that asks an authority."""

    def __init__(self, store: ObjectStore, state: BucketState, authority: Authority) -> None:
        super().__init__(store, state)
        self.authority = authority
        self.actor = authority.actor

    def ask(self, actions: Iterable[str], key: str | None, asked: Arguments) -> None:
        """Raise unless every action is allowed on an object, or on the bucket for `key` None."""
        info = self.state.current(self.store)
        resource = bucket_arn(self.name) if key is None else object_arn(self.name, key)
        context = _context(asked)
        version_id = asked.get("version_id")
        for action in actions:
            self.authority.check(action, resource, bucket=info, key=key or "", version_id=version_id, context=context)

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
                self.ask(["s3:PutObject"], item[0], {})
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
        self.ask(_READ(options), key, options)
        if options.get("tags") is None:
            self.ask(
                _versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging")(options), key, options
            ) if self._is_tagged(key, options.get("version_id")) else None
        target = dest_bucket or self
        if not isinstance(target, AuthorizedBucket):
            target = AuthorizedBucket(target.store, target.state, self.authority)
        target.ask(_written(options), dest_key, {**options, "version_id": None})
        with calling(self.authority.caller):
            return super().copy(key, dest_key, dest_bucket=target, **options)

    def _is_tagged(self, key: str, version_id: str | None) -> bool:
        return Bucket.head(self, key, version_id=version_id).tag_count > 0


def _context(asked: Arguments) -> dict[str, str]:
    """Return the condition keys that a verb's arguments give."""
    keys: dict[str, str] = {}
    for name, condition in (
        ("prefix", "s3:prefix"),
        ("delimiter", "s3:delimiter"),
        ("limit", "s3:max-keys"),
        ("version_id", "s3:VersionId"),
        ("retention_mode", "s3:object-lock-mode"),
        ("mode", "s3:object-lock-mode"),
    ):
        if asked.get(name) is not None:
            keys[condition] = str(asked[name])
    tags = asked.get("tags") or asked.get("tag_set") or {}
    keys.update({f"s3:RequestObjectTag/{name}": str(value) for name, value in tags.items()})
    until = asked.get("retain_until") or asked.get("until")
    if isinstance(until, int):
        keys["s3:object-lock-retain-until-date"] = time_text(until)
    elif until is not None and hasattr(until, "strftime"):
        keys["s3:object-lock-retain-until-date"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
    if "legal_hold" in asked or "on" in asked:
        keys["s3:object-lock-legal-hold"] = "ON" if asked.get("legal_hold") or asked.get("on") else "OFF"
    return keys


def _asking(name: str, rule: Rule, *, on_object: bool) -> Callable[..., Any]:
    plain = getattr(Bucket, name)
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def verb(self: AuthorizedBucket, *args: Any, **kwargs: Any) -> Any:
        asked = signature.bind(self, *args, **kwargs).arguments
        self.ask(rule(asked), asked["key"] if on_object else None, asked)
        with calling(self.authority.caller):
            return plain(self, *args, **kwargs)

    return verb


for _name, _rule in ON_OBJECT.items():
    setattr(AuthorizedBucket, _name, _asking(_name, _rule, on_object=True))
for _name, _rule in ON_BUCKET.items():
    if hasattr(Bucket, _name):
        setattr(AuthorizedBucket, _name, _asking(_name, _rule, on_object=False))

"""The decision: may the one who sent this request do what it asks?

Invariants: what the table does not name is the root's alone; a Deny of the bucket's policy stops the root too, except
from the policy itself; an unsigned request is let in only by a server that was told to, and only where the bucket's
policy or a canned ACL opens what it asks for; nothing is decided by rights older than the request.

Source: IAM User Guide, "Policy evaluation logic"; Amazon S3 User Guide, "How Amazon S3 authorizes a request".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tickvault.doors.s3.authorization.ask import Ask
from tickvault.doors.s3.authorization.everyone import acls_count, answered, lets_anyone_in
from tickvault.doors.s3.authorization.refusal import refused
from tickvault.doors.s3.authorization.table import (
    BYPASS_HEADER,
    BYPASSING,
    KEYS_IN_BODY,
    OPENED_BY_ACL,
    TABLE,
    Need,
)
from tickvault.doors.s3.canned_acl import is_public, opens
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request
from tickvault.errors import BucketNotFoundError
from tickvault.objects.bucket import Bucket
from tickvault.objects.bucket_rules import DEFAULT_BLOCK, BucketRules, Rules
from tickvault.objects.condition_keys import BYPASS, Keys, stored
from tickvault.objects.identities import ANONYMOUS_RIGHTS, Rights
from tickvault.objects.model import BucketInfo
from tickvault.security.policy import SERVICE_RESOURCE, AccessRequest, Decision

if TYPE_CHECKING:
    from tickvault.doors.s3.context import Context

_ARN = "arn:aws:s3:::"


class Authorizer:
    """Decides for one server.

    Parameters
    ----------
    allow_anonymous : bool
        Unsigned requests may do what a bucket's policy or a canned ACL opens to everyone.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(self, *, allow_anonymous: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._allow_anonymous = allow_anonymous
        self._clock = clock
        self._rules = BucketRules()

    def authorize(self, context: Context, request: Request, operation: str, body: bytes | None = None) -> bool:
        """Decide whether an operation may run; False: not without its body, which conditions speak of.

        Parameters
        ----------
        operation : str
            Name of the handler.
        body : bytes, optional
            The body, where this said before that it is needed.

        Raises
        ------
        S3Error
            ``AccessDenied``.
        BucketNotFoundError
            There is no such bucket, which is told to everyone, as S3 does.
        """
        request.authorizer = self
        signer = request.signer
        rights = ANONYMOUS_RIGHTS if signer is None else signer.rights
        if signer is None and not self._allow_anonymous:
            raise S3Error("AccessDenied")
        bucket = settings = None
        if request.bucket and operation != "create_bucket":
            try:
                bucket, settings = context.find_bucket(request.bucket)
            except BucketNotFoundError:
                if signer is None and operation not in OPENED_BY_ACL:
                    raise S3Error("AccessDenied") from None
                raise
        headers = request.headers
        if rights.is_root and "x-amz-copy-source" not in headers and "x-amz-acl" not in headers:
            rules = self._rules_of(settings)
            if rules is None or rules.policy is None:
                return True
        needs = TABLE.get(operation)
        if needs is None:
            if not rights.is_root:
                raise S3Error("AccessDenied")
            return True
        ask = Ask(request, bucket, settings, self._clock, context.find_bucket)
        if body is not None:
            ask.body, ask.owner_id = body, context.owner_id
        elif operation in KEYS_IN_BODY and self._reads_body(rights, settings, KEYS_IN_BODY[operation]):
            return False
        if signer is None and not needs and not lets_anyone_in(self._rules_of(settings)):
            raise S3Error("AccessDenied")
        for need in needs:
            if need.when is None or need.when(ask):
                self._check(ask, rights, need, operation)
        if "x-amz-acl" in headers and request.method in ("PUT", "POST"):
            self.check_acl(settings, headers["x-amz-acl"])
        if "x-amz-copy-source" in headers and not rights.is_root and needs and needs[0].on == "source":
            self._check_source_told(ask, rights)
        if BYPASS_HEADER in headers and operation in BYPASSING:
            self._check_bypass(ask, rights)
        return True

    def delete_refusals(
        self, request: Request, bucket: Bucket, entries: Sequence[tuple[str, str | None, bool]], *, bypass: bool
    ) -> list[tuple[S3Error | None, bool]]:
        """Decide about each entry of a DeleteObjects.

        Parameters
        ----------
        entries : sequence of (str, str or None, bool)
            Key, version id, and whether what is stored is compared with an entity tag.

        Returns
        -------
        list of (S3Error or None, bool)
            Why it may not be deleted, and whether it may be in spite of a GOVERNANCE retention.
        """
        rights = ANONYMOUS_RIGHTS if request.signer is None else request.signer.rights
        ask = Ask(request, bucket, bucket.info, self._clock)
        found: list[tuple[S3Error | None, bool]] = []
        for key, version_id, compared in entries:
            refusal = None
            deletes = "s3:DeleteObject" if version_id is None else "s3:DeleteObjectVersion"
            for action in (deletes, "s3:GetObject") if compared else (deletes,):
                decision, resource = self._decide(rights, action, ask, bucket, ask.settings, key, version_id)
                if not decision.allowed:
                    refusal = refused(rights.principal, action, resource, decision)
                    break
            around = bypass and refusal is None and self._may_bypass(ask, rights, key, version_id)
            found.append((refusal, around))
        return found

    def may_list(self, request: Request, bucket: Bucket) -> bool:
        """Tell whether the one who asks may list a bucket, and so may know which keys there are."""
        rights = ANONYMOUS_RIGHTS if request.signer is None else request.signer.rights
        settings = bucket.info
        rules = self._rules.of(settings)
        if rights.is_root and (rules is None or rules.policy is None):
            return True
        # As Amazon, which asks without a prefix: a right to some prefixes does not tell of the others.
        ask = Ask(request, bucket, settings, self._clock)
        decision = self._decide(rights, "s3:ListBucket", ask, bucket, settings, "", None)[0]
        return decision.allowed or self._opened(decision, settings, "bucket")

    def check_acl(self, settings: BucketInfo | None, acl: str) -> None:
        """Raise ``AccessDenied`` for a public ACL where the bucket's BlockPublicAcls refuses it."""
        rules = self._rules_of(settings)
        if opens(acl) and (DEFAULT_BLOCK if rules is None else rules.block).block_public_acls:
            raise S3Error(
                "AccessDenied",
                "User is not authorized to set this ACL because public access control lists (ACLs) are prevented "
                "by the BlockPublicAcls setting of the bucket",
            )

    def _check(self, ask: Ask, rights: Rights, need: Need, operation: str) -> None:
        request = ask.request
        bucket, settings, key = ask.bucket, ask.settings, request.key if need.on == "object" else ""
        version_id = ask.query.get("versionId") if ask.query else None
        if need.on == "source":
            bucket, settings, key, version_id = ask.source
        action = need.version_action if need.version_action and version_id is not None else need.action
        decision, resource = self._decide(rights, action, ask, bucket, settings, key, version_id)
        if decision.allowed:
            return
        if settings is not None and operation in OPENED_BY_ACL:
            whose = OPENED_BY_ACL[operation]
            if self._opened(decision, settings, whose) and (whose == "bucket" or _is_open(bucket, key, version_id)):
                # The operation looks again, at the very version that it reads.
                request.acl_decides = whose == "object"
                return
        raise refused(rights.principal, action, resource, decision)

    def _decide(
        self,
        rights: Rights,
        action: str,
        ask: Ask,
        bucket: Bucket | None,
        settings: BucketInfo | None,
        key: str,
        version_id: str | None,
    ) -> tuple[Decision, str]:
        rules = self._rules_of(settings)
        policy = None if rules is None else rules.policy
        reads = rights.keys_read
        if rules is not None and policy is not None:
            reads |= rules.keys_read
        name = ask.request.bucket if settings is None else settings.name
        resource = f"{_ARN}{name}/{key}" if key else f"{_ARN}{name}" if name else SERVICE_RESOURCE
        keys = Keys(ask, reads, bucket, key, version_id, action)
        decision = rights.policies.decide(AccessRequest(rights.principal, action, resource, keys), policy)
        return answered(decision, rights.principal, rules), resource

    def _rules_of(self, settings: BucketInfo | None) -> Rules | None:
        return None if settings is None else self._rules.of(settings)

    def _opened(self, decision: Decision, settings: BucketInfo, whose: str) -> bool:
        """Tell whether a canned ACL lets everyone read where no policy does; of an object, whether it could."""
        if not self._allow_anonymous or not acls_count(decision, self._rules.of(settings)):
            return False
        return whose == "object" or is_public(settings.documents.get("acl"))

    def _check_source_told(self, ask: Ask, rights: Rights) -> None:
        """Refuse the copy of what is not there, unless its bucket may be listed."""
        if ask.source_info is not None:
            return
        source = ask.source
        decision, _ = self._decide(rights, "s3:ListBucket", ask, source.bucket, source.settings, "", None)
        if not decision.allowed:
            raise S3Error("AccessDenied")

    def _check_bypass(self, ask: Ask, rights: Rights) -> None:
        """Take the wish to bypass GOVERNANCE out of a request whose sender has no right to it."""
        request = ask.request
        if not self._may_bypass(ask, rights, request.key, ask.query.get("versionId")):
            request.headers = {name: value for name, value in request.headers.items() if name != BYPASS_HEADER}

    def _may_bypass(self, ask: Ask, rights: Rights, key: str, version_id: str | None) -> bool:
        return self._decide(rights, BYPASS, ask, ask.bucket, ask.settings, key, version_id)[0].allowed

    def _reads_body(self, rights: Rights, settings: BucketInfo | None, beginnings: tuple[str, ...]) -> bool:
        rules = self._rules_of(settings)
        read = rights.keys_read if rules is None else rights.keys_read | rules.keys_read
        return any(key.startswith(beginnings) for key in read)


def _is_open(bucket: Bucket | None, key: str, version_id: str | None) -> bool:
    """Tell whether the ACL of a version lets everyone read; of one that is not there, its operation tells."""
    info = None if bucket is None else stored(bucket, key, version_id or None)
    return info is None or is_public(info.headers.get("x-amz-acl"))

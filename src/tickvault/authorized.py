"""The face in the hands of an identity: a vault whose every verb asks first.

Invariants: every public verb of `Vault` has its right here (a test compares the two); what changes something is
attributed to the identity; the store beneath (`Vault.store`) asks nobody, and is for who owns the process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tickvault.audit.actor import Actor
from tickvault.audit.auditor import Auditor
from tickvault.engine.attribution import calling
from tickvault.errors import AccessDeniedError
from tickvault.objects.authority import SERVICE, Authority, bucket_arn
from tickvault.objects.authorized import AuthorizedBucket, readable_info
from tickvault.objects.bucket import Bucket
from tickvault.objects.store import ObjectStore
from tickvault.vault import Vault

if TYPE_CHECKING:
    from tickvault.audit.record import AuditRecord
    from tickvault.engine.backup import BackupReport
    from tickvault.engine.compaction import CompactionReport
    from tickvault.engine.scrub import ScrubReport
    from tickvault.market.library import Library
    from tickvault.objects.model import BucketInfo
    from tickvault.objects.reconciling import ReconcileReport
    from tickvault.security.identity import Identities


class AuthorizedVault(Vault):
    """A vault as an identity has it. Get it with `Vault.as_identity`, or `tickvault.open(path, identity=…)`."""

    def __init__(self, store: ObjectStore, authority: Authority) -> None:
        super().__init__(store)
        self.authority = authority

    def __repr__(self) -> str:
        """Show the path and who."""
        return f"<Vault {self.path} as {self.authority.name}>"

    def _actor(self) -> Actor:
        return self.authority.actor

    def _ask(self, action: str, resource: str = SERVICE) -> None:
        self.authority.check(action, resource)

    # -- buckets

    def create_bucket(self, name: str, **options: Any) -> Bucket:
        """As `Vault.create_bucket`."""
        self._ask("s3:CreateBucket", bucket_arn(name))
        if options.get("object_lock") or options.get("retention") is not None:
            self._ask("s3:PutBucketObjectLockConfiguration", bucket_arn(name))
        if options.get("encryption") is not None:
            self._ask("s3:PutEncryptionConfiguration", bucket_arn(name))
        with calling(self.authority.caller):
            super().create_bucket(name, **options)
        return self.bucket(name)

    def bucket(self, name: str) -> Bucket:
        """As `Vault.bucket`; each verb of it asks for itself."""
        found = super().bucket(name)
        return AuthorizedBucket(self.store, found.state, self.authority)

    __getitem__ = bucket

    def delete_bucket(self, name: str) -> None:
        """As `Vault.delete_bucket`."""
        self._ask("s3:DeleteBucket", bucket_arn(name))
        with calling(self.authority.caller):
            super().delete_bucket(name)

    def buckets(self) -> list[BucketInfo]:
        """As `Vault.buckets`; of each bucket, the settings documents that may be read."""
        self._ask("s3:ListAllMyBuckets")
        return [readable_info(info, self.authority) for info in super().buckets()]

    def bucket_names(self) -> dict[int, str]:
        """As `Vault.bucket_names`."""
        self._ask("s3:ListAllMyBuckets")
        return super().bucket_names()

    # -- market data

    def library(self, name: str) -> Library:
        """As `Vault.library`; each verb of it asks for itself. One that is not there takes the right to write."""
        from tickvault.market.authorized import AuthorizedLibrary

        resource = bucket_arn(f"library-{name}")
        exists = any(info.name == f"library-{name}" for info in self.store.list_buckets())
        self._ask("tickvault:ReadLibrary" if exists else "tickvault:WriteLibrary", resource)
        with calling(self.authority.caller):
            library = super().library(name)
        return AuthorizedLibrary(library, lambda right: self._ask(right, resource), self.authority.caller)  # type: ignore[return-value]

    def libraries(self) -> list[str]:
        """As `Vault.libraries`."""
        self._ask("s3:ListAllMyBuckets")
        return super().libraries()

    # -- upkeep

    def verify(self, **options: Any) -> ScrubReport:
        """As `Vault.verify`."""
        self._ask("tickvault:Verify")
        return super().verify(**options)

    def compact(self, **options: Any) -> CompactionReport:
        """As `Vault.compact`."""
        self._ask("tickvault:Compact")
        return super().compact(**options)

    def backup(self, destination: str | os.PathLike[str], **options: Any) -> BackupReport:
        """As `Vault.backup`."""
        self._ask("tickvault:Backup")
        return super().backup(destination, **options)

    def reconcile(self, **options: Any) -> ReconcileReport:
        """As `Vault.reconcile`."""
        self._ask("tickvault:VerifyAudit")
        from tickvault.objects.reconciling import reconcile

        return reconcile(self.store, lambda first: self.store.auditor.query(sequence_from=first), **options)

    @property
    def audit(self) -> Auditor:
        """The audit trail; each verb of it asks for itself."""
        return _AuthorizedAuditor(self.store.auditor, self._ask)  # type: ignore[return-value]

    def as_identity(self, identity: str, *, session_token: str | None = None) -> Vault:
        """Not through this handle: who holds it is who it is."""
        raise AccessDeniedError(
            f"{self.authority.name} cannot become {identity!a:.140} through this handle; use the vault that "
            "was opened without an identity, or temporary credentials (AssumeRole)"
        )

    @property
    def identities(self) -> Identities:
        """Not through this handle: the command line and the owner of the process manage identities."""
        raise AccessDeniedError(
            f"{self.authority.name} cannot manage identities through this handle; use the vault that was "
            "opened without an identity, or `tickvault iam`"
        )


class _AuthorizedAuditor:
    """The audit trail as an identity has it: asking it, and nothing that changes how it is kept."""

    def __init__(self, auditor: Auditor, ask: Any) -> None:
        self._auditor = auditor
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        """Refuse the other verbs of the trail: its keys, its hash, a new beginning."""
        if name.startswith("_") or not hasattr(Auditor, name):
            raise AttributeError(f"the audit trail has no {name}")
        raise AccessDeniedError(
            f"audit.{name} is not to be had through the handle of an identity; use the vault that was opened without "
            "one, or `tickvault audit`"
        )

    def query(self, **options: Any) -> Iterator[AuditRecord]:
        """As `Auditor.query`."""
        self._ask("tickvault:ReadAudit")
        return self._auditor.query(**options)

    def verify(self, **options: Any) -> Any:
        """As `Auditor.verify`."""
        self._ask("tickvault:VerifyAudit")
        return self._auditor.verify(**options)

    def head(self) -> Any:
        """As `Auditor.head`."""
        self._ask("tickvault:VerifyAudit")
        return self._auditor.head()

    def export(self, destination: str | os.PathLike[str], **options: Any) -> Any:
        """As `Auditor.export`."""
        self._ask("tickvault:ExportAudit")
        return self._auditor.export(destination, **options)

"""The face: `open` a vault and work with its buckets.

Invariants: everything here is a thin word for what the rooms below do; nothing is decided here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tickvault.audit.actor import Actor, process_actor
from tickvault.audit.auditor import FOLDER as AUDIT_FOLDER
from tickvault.audit.auditor import Auditor
from tickvault.audit.record import Category
from tickvault.engine.backup import BackupReport, backup, read_description
from tickvault.engine.backup import restore as _restore
from tickvault.engine.compaction import CompactionReport, compact
from tickvault.engine.engine import Progress
from tickvault.engine.scrub import ScrubReport, scrub
from tickvault.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    BusyError,
    ClosedError,
    InvalidInputError,
    TickVaultError,
)
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.keyring_copy import copy_keyring
from tickvault.objects.model import BucketInfo, Durability
from tickvault.objects.store import ObjectStore, open_store

if TYPE_CHECKING:
    from tickvault.market.library import Library
    from tickvault.objects.reconciling import ReconcileReport
    from tickvault.security.identity import Identities

_LIBRARY_PREFIX = "library-"
_LIBRARY_NAME = re.compile("[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")


class Vault:
    """An open vault. Use as a context manager, or `close` it."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.path = store.path
        self._open = True
        self._libraries: dict[str, Library] = {}
        self._identities: Identities | None = None

    def __enter__(self) -> Self:
        """Return the vault."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the vault."""
        self.close()

    def __repr__(self) -> str:
        """Show the path."""
        return f"<Vault {self.path}>"

    def close(self) -> None:
        """Close this opening; blobs handed out stay valid."""
        if self._open:
            self._open = False
            for library in self._libraries.values():
                library.close()
            self._libraries.clear()
            self.store.close()

    def create_bucket(
        self,
        name: str,
        *,
        versioning: bool = False,
        durability: Durability = "strict",
        object_lock: bool = False,
        retention: str | tuple[str, int] | None = None,
        encryption: str | Mapping[str, Any] | None = None,
    ) -> Bucket:
        """Make a bucket.

        Parameters
        ----------
        name : str
            3 to 63 lower-case letters, digits, dots and hyphens.
        versioning : bool
            Keep every version of every object.
        durability : {"strict", "relaxed"}
            ``"strict"``: synced before it is acknowledged; ``"relaxed"``: soon after.
        object_lock : bool
            Versions may be locked against change and removal. It cannot be turned off; it keeps versions.
        retention : str or (str, int), optional
            How long each new version is kept: a preset (``"sec-17a-4"``, ``"cftc-1.31"``, ``"mifid-ii"``,
            ``"cn-securities"``) or (mode, days), as ``("COMPLIANCE", 365)``; implies `object_lock`.
        encryption : str or mapping, optional
            What new versions are encrypted with at rest: a suite (``"aes-256-gcm"``, ``"sm4-gcm"``), or a mapping with
            ``suite`` and ``key``, the id of a key of the vault's key service.
        """
        return self.store.create_bucket(
            name,
            versioning=versioning,
            durability=durability,
            object_lock=object_lock,
            retention=retention,
            encryption=encryption,
        )

    def bucket(self, name: str) -> Bucket:
        """Return a bucket; raises `BucketNotFoundError`."""
        return self.store.bucket(name)

    __getitem__ = bucket

    def __contains__(self, name: object) -> bool:
        """Whether there is a bucket of that name."""
        return any(info.name == name for info in self.store.list_buckets())

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        self.store.delete_bucket(name)

    def buckets(self) -> list[BucketInfo]:
        """Return all buckets, by name."""
        return self.store.list_buckets()

    def as_identity(self, identity: str, *, session_token: str | None = None) -> Vault:
        """Return this vault as an identity has it: every verb asks first, and is in the audit trail as theirs.

        Appends of live rows ask as well, and are not in the trail.

        Parameters
        ----------
        identity : str
            An access key, or the ARN of a user, a role or a service account.
        session_token : str, optional
            Of temporary credentials.

        Raises
        ------
        AccessDeniedError
            There is no such identity, it was disabled, or it has expired.
        InvalidInputError
            A session token beside an ARN.
        """
        from tickvault.authorized import AuthorizedVault
        from tickvault.objects.authority import Authority

        authority = Authority(self.store, identity, session_token)
        return AuthorizedVault(open_store(self.path, create=False), authority)

    # -- market data

    def library(self, name: str) -> Library:
        """Return a library of market data, making it if there is none.

        It lives in the bucket ``library-NAME``.

        Raises
        ------
        InvalidInputError
            The name is none, or a newer release made the library.
        """
        try:
            from tickvault.market.journal.place import Place
            from tickvault.market.library import Library
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"libraries of market data need the package {error.name}: pip install 'tickvault[market]'"
            ) from error

        if not isinstance(name, str) or not _LIBRARY_NAME.fullmatch(name):
            raise InvalidInputError(
                f"library name {name!r}: it has 1 to 50 lower-case letters, digits and hyphens, and neither begins nor "
                "ends with a hyphen"
            )
        bucket = f"{_LIBRARY_PREFIX}{name}"
        try:
            store = self.store.bucket(bucket)
        except BucketNotFoundError:
            try:
                store = self.store.create_bucket(bucket)
            except AlreadyExistsError:
                store = self.store.bucket(bucket)
        found = self._libraries.get(name)
        if found is None:
            engine = self.store.engine
            place = Place(
                self.path,
                store.bucket_id,
                engine.disk,
                engine.clock,
                engine.host,
                lambda: store.info.durability == "strict",
                self._check_writable,
                engine.control.poison,
            )
            found = self._libraries[name] = Library.open(store, name, place)
        return found

    def _check_writable(self) -> None:
        if self.store.engine.closed:
            raise ClosedError(f"the vault {self.path} was closed; open it again")
        self.store.engine.check_writable()

    def libraries(self) -> list[str]:
        """Return the names of the libraries, in order."""
        names = [info.name for info in self.store.list_buckets()]
        return [name.removeprefix(_LIBRARY_PREFIX) for name in names if name.startswith(_LIBRARY_PREFIX)]

    # -- upkeep

    def verify(self, *, heal: bool = True, progress: Progress | None = None) -> ScrubReport:
        """Check everything stored, and with `heal` mend the index where the segments show that it is wrong."""
        report = scrub(self.store.engine, heal=heal, progress=progress)
        if os.path.isdir(os.path.join(self.path, "journals")):
            from tickvault.market.journal.verifying import verify_journals

            report.journal_rows, report.damaged_journals = verify_journals(self.path, self.store.engine.host)
        self._note("Verify", sound=str(report.sound).lower(), healed=str(report.healed))
        return report

    def _note(self, action: str, **detail: str) -> None:
        """Have the audit trail tell that somebody ran maintenance."""
        self.store.auditor.record(self._actor(), Category.SYSTEM, action=action, detail=detail)

    def _actor(self) -> Actor:
        return process_actor()

    @property
    def identities(self) -> Identities:
        """Users, groups, roles, policies and access keys: ``create_user("alice")``, ``create_access_key("alice")``."""
        if self._identities is None:
            from tickvault.objects.identities import open_identities
            from tickvault.security.credentials import has_credentials, load_or_create

            root = load_or_create(self.path) if has_credentials(self.path) else None
            self._identities = open_identities(self.store, root=root)
        return self._identities

    @property
    def audit(self) -> Auditor:
        """The audit trail: ``verify()``, ``query(…)``, ``export(path)``, ``head()``."""
        return self.store.auditor

    def reconcile(self, *, everything: bool = False, progress: Progress | None = None) -> ReconcileReport:
        """Hold the stored versions against what the audit trail says was written; verify the trail first.

        Parameters
        ----------
        everything : bool
            All buckets; otherwise those with object lock.
        """
        from tickvault.objects.reconciling import reconcile

        return reconcile(
            self.store,
            lambda first: self.audit.query(sequence_from=first),
            everything=everything,
            progress=progress,
        )

    def compact(self, *, dead_ratio_min: float = 0.3, progress: Progress | None = None) -> CompactionReport:
        """Free the space of what was deleted or overwritten; what the audit trail has not read yet stays."""
        # The trail of the store, not `audit`: bringing it up to date is part of the work, whoever has it done.
        try:
            self.store.auditor.catch_up()
        except TickVaultError:
            pass  # what the trail cannot be told is held back, and the report says so
        report = compact(self.store.engine, dead_ratio_min=dead_ratio_min, progress=progress)
        self._note("Compact", segments_retired=str(report.segments_retired), bytes_freed=str(report.bytes_freed))
        return report

    def backup(self, destination: str | os.PathLike[str], *, progress: Progress | None = None) -> BackupReport:
        """Copy the vault as of now into a folder; into an earlier backup of it, only what is new.

        Live rows come along: journals are copied first, so that rows that become files of columns meanwhile are in the
        backup in one form or the other. So does the sealed keyring; the key file or passphrase that opens it does not.
        """
        from tickvault.audit.backup import KEYS, NOTED, backup_trail, check_trail_continues
        from tickvault.engine.backup_files import (
            FILES,
            check_continues,
            gather,
            gathering_folder,
            place,
            read_whole,
            settle,
        )
        from tickvault.market.journal.backup import backup_journals
        from tickvault.market.journal.place import FOLDER as JOURNALS

        target, audit_folder = os.fspath(destination), self.store.auditor.folder
        trail = os.path.join(target, AUDIT_FOLDER)

        def check(earlier: dict[str, Any]) -> None:
            check_continues(os.path.join(gathered, JOURNALS), JOURNALS, target, earlier.get(FILES))
            check_trail_continues(audit_folder, trail, earlier.get(NOTED, {}))

        def beside(end: tuple[int, int], sequence: int, earlier: dict[str, Any]) -> dict[str, Any]:
            copy_keyring(self.path, gathered)
            keys = {name: os.path.join(audit_folder, name) for name in KEYS}
            kept = {name: gather(gathered, f"{AUDIT_FOLDER}/{name}", path) for name, path in keys.items()}
            noted = backup_trail(audit_folder, trail, end, sequence, earlier.get(NOTED, {}))
            if any(read_whole(path) != kept[name] for name, path in keys.items()):
                raise BusyError("the audit trail's key was rotated while the backup ran; run it again")
            return {NOTED: noted, FILES: place(gathered, target, earlier.get(FILES))}

        gathered = gathering_folder(target)
        try:
            # First: rows that become files of columns meanwhile are in the backup in one form or the other.
            backup_journals(self.path, gathered)
            self.store.auditor.catch_up()
            report = backup(self.store.engine, target, progress=progress, check=check, beside=beside)
        finally:
            shutil.rmtree(gathered, ignore_errors=True)
        settle(target)
        self._note("Backup", destination=os.path.abspath(os.fspath(destination)), sequence=str(report.sequence))
        return report

    def bucket_names(self) -> dict[int, str]:
        """Return the names of the buckets by id, to read a `ScrubReport`."""
        return {info.bucket_id: info.name for info in self.store.list_buckets()}


def open(  # noqa: A001
    path: str | os.PathLike[str] = "data",
    *,
    create: bool = True,
    identity: str | None = None,
    session_token: str | None = None,
    **options: Any,
) -> Vault:
    """Open the vault in a folder.

    Parameters
    ----------
    path : path-like
        The vault's folder.
    create : bool
        Make the vault if it is missing (the default); otherwise raise `NotFoundError`.
    identity : str, optional
        Use it as somebody: an access key, or the ARN of a user, a role or a service account; see `Vault.as_identity`.
    session_token : str, optional
        Of temporary credentials.

    Returns
    -------
    Vault
        Any number of processes may open the same vault at once; opening it again in this process shares the engine.

    Examples
    --------
    >>> import tempfile, tickvault as tv
    >>> with tv.open(tempfile.mkdtemp() + "/data") as vault:
    ...     raw = vault.create_bucket("raw")
    ...     _ = raw.put("ES/1", b"tick")
    ...     bytes(raw.get("ES/1"))
    b'tick'
    """
    opened = Vault(open_store(path, create=create, **options))
    if identity is None:
        return opened
    with opened:
        return opened.as_identity(identity, session_token=session_token)


def rebuild_index(path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
    """Throw the index away, build it from the segments, and return how many records were read."""
    store = open_store(path, create=False, rebuild=True, progress=progress)
    try:
        records = store.engine.report.records
        store.auditor.record(process_actor(), Category.SYSTEM, action="RebuildIndex", detail={"records": str(records)})
        return records
    finally:
        store.close()


def restore(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    trail: bool = True,
    progress: Progress | None = None,
) -> BackupReport:
    """Make a vault in an empty folder from a backup, and build its index.

    Parameters
    ----------
    trail : bool
        With its audit trail. Without it (where that is damaged, or lost) the vault begins a new one, which says so.

    Raises
    ------
    IntegrityError
        Something in the backup is damaged or missing; nothing is left in the folder.
    AlreadyExistsError
        The folder is not empty.
    """
    from tickvault.audit.backup import NOTED, restore_trail
    from tickvault.engine.backup_files import FILES, restore_files
    from tickvault.engine.engine import EngineOptions
    from tickvault.market.journal.backup import restore_journals

    origin, target = os.fspath(source), os.path.abspath(destination)
    report = _restore(origin, target, progress=progress)
    try:
        described = read_description(origin)
        if FILES in described:
            restore_files(origin, target, described[FILES], without="" if trail else AUDIT_FOLDER)
        else:
            restore_journals(origin, target)
            copy_keyring(origin, target)
        if trail:
            noted = described.get(NOTED)
            restore_trail(os.path.join(origin, AUDIT_FOLDER), os.path.join(target, AUDIT_FOLDER), noted)
        # Without the thread that follows: a new trail begins with why it does.
        store = open_store(target, create=False, options=EngineOptions(background=False))
    except BaseException:
        # It was missing or empty: all that lies there was made here.
        shutil.rmtree(target, ignore_errors=True)
        raise
    detail = {"source": os.path.abspath(origin), "sequence": str(report.sequence)}
    if trail:
        store.auditor.record(process_actor(), Category.SYSTEM, action="Restore", detail=detail)
    else:
        follower, actor = store.auditor.follower(), process_actor()
        begun = follower.system_record("Restore", {**detail, "trail": "left out"})
        record = begun._replace(identity=actor.identity, source=actor.source)
        follower.with_writer(lambda writer: writer.append([record]))
    store.close()
    return report

"""`tickvault audit`: the audit trail, verified, searched, exported.

Invariants: a trail that does not verify ends the command with exit status 8 and names the first broken block; what is
printed for a machine is one JSON object a line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.audit_ship import ship
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option
from tickvault.errors import AccessDeniedError, IntegrityError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from tickvault.audit.head import Head
    from tickvault.audit.record import AuditRecord
    from tickvault.objects.reconciling import Finding, ReconcileReport
    from tickvault.vault import Vault

_DAY_NS = 86_400 * 10**9
_CATEGORIES = ("change", "read", "refusal", "system")


@click.group(invoke_without_command=True)
@click.pass_context
def audit(context: click.Context) -> None:
    """Verify, search and export the audit trail.

    Every change and every request is a record in one hash-linked chain of signed blocks, in the vault's folder
    under audit/. Keep the line that `audit head` prints somewhere else: with it, `audit verify` notices a trail
    that was cut short or replaced by an older one.

    \b
    Examples:
      tickvault audit verify
      tickvault audit query --bucket orders --since 2026-01-05
      tickvault audit export evidence-2026-01 --since 2026-01-01 --until 2026-02-01
    """
    help_without_command(context)


@audit.command()
@click.option("--head", "head_text", metavar="LINE|@FILE", help="A head that was kept elsewhere; @FILE reads it.")
@click.option("--keys", "keys_file", metavar="FILE", help="Public keys that were kept elsewhere (signers.json).")
@click.option(
    "--objects",
    "with_objects",
    is_flag=True,
    help="Hold versions under object lock, settings and identities against it.",
)
@click.option(
    "--everything", is_flag=True, help="With --objects: the versions of all buckets, also those without object lock."
)
@vault_option
@json_option
def verify(
    *,
    head_text: str | None,
    keys_file: str | None,
    with_objects: bool,
    everything: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Check the whole chain, and name the first broken block.

    Finds a flipped bit, a record or block that was removed, added, changed or moved, and a signature that is not
    the trail's. A trail that was cut short, or replaced by an older copy of itself, is sound in itself: --head,
    with a line that `audit head` printed and you kept elsewhere, finds that too. --objects compares what is
    stored with what the trail says was written: versions under object lock, settings of buckets, identities, policies
    and keys; with --everything all versions. Bytes under keys of the vault that cannot be used now are not looked at,
    and the command ends with exit status 7; under a customer's key or a destroyed one nobody can look at them, and
    they are counted.

    \b
    Examples:
      tickvault audit verify
      tickvault audit verify --head @/mnt/safe/head.txt --keys /mnt/safe/signers.json
      tickvault audit verify --objects
    """
    expected = None if head_text is None else _head(head_text)
    keys = None
    if keys_file is not None:
        from tickvault.audit.keyfile import read_signers

        keys = read_signers(keys_file)
    with open_vault(vault_dir) as vault:
        with terminal.Progress("audit verify") as progress:
            report = vault.audit.verify(
                expected_head=expected, public_keys=keys, progress=lambda done, total: progress(done, total, "bytes")
            )
        compared = None
        if (with_objects or everything) and report.ok:
            with terminal.Progress("objects") as progress:
                compared = vault.reconcile(everything=everything, progress=progress)
        notes = [*report.warnings, *(_beginnings(vault) if report.ok else ())]
    findings = [] if compared is None else compared.findings
    if compared is not None:
        notes += [note for note in compared.notes if note not in notes]
    if as_json:
        terminal.answer_json(
            {
                "ok": report.ok and not findings and (compared is None or compared.complete),
                "trail_id": report.trail_id.hex(),
                "records": report.records,
                "blocks": report.blocks,
                "files": report.files,
                "head": None if report.head is None else str(report.head),
                "fault": None if report.fault is None else str(report.fault),
                "notes": notes,
                "versions": None if compared is None else compared.versions,
                "unread": None if compared is None else compared.unread,
                "not_looked_at": None if compared is None else compared.not_looked_at,
                "why_not": None if compared is None else compared.why_not or None,
                "findings": [finding._asdict() for finding in findings],
            }
        )
    else:
        if findings:
            terminal.answer(f"FAIL  {terminal.count(len(findings), 'finding')}; the trail itself holds:")
        elif compared is not None and not compared.complete:
            unseen = terminal.count(compared.not_looked_at, "object version")
            terminal.answer(f"INCOMPLETE  the bytes of {unseen} were not looked at; the trail itself holds:")
        report.warnings = notes
        terminal.answer(terminal.printable_lines(report.text()))
        if compared is not None:
            terminal.answer(terminal.printable(_compared(compared)))
        for finding in findings:
            terminal.answer(terminal.printable(f"finding: {finding.text}"))
    if not report.ok:
        raise IntegrityError(f"the audit trail in {vault_dir} is broken: {report.fault}")
    if findings:
        raise IntegrityError(_differing(findings, vault_dir))
    if compared is not None and not compared.complete:
        unseen = terminal.count(compared.not_looked_at, "object version")
        raise AccessDeniedError(
            f"the bytes of {unseen} in {vault_dir} were not looked at, since the keys they are under cannot be used: "
            f"{compared.why_not}; mend that, then run it again"
        )


def _differing(findings: Sequence[Finding], vault_dir: str) -> str:
    """Say what is not what the trail says: each thing once, whatever was found of it."""
    places = {(one.bucket, one.key, one.version_id) for one in findings}
    counts = (
        (sum(bool(bucket and key) for bucket, key, _ in places), "object version"),
        (sum(bool(bucket and not key) for bucket, key, _ in places), "bucket"),
        (sum(bool(key and not bucket) for bucket, key, _ in places), "document"),
    )
    told = [terminal.count(amount, noun) for amount, noun in counts if amount]
    if not told:
        return f"{vault_dir} is not the vault that the audit trail tells of"
    is_one = sum(amount for amount, _ in counts) == 1
    things = " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))
    return f"{things} in {vault_dir} {'is' if is_one else 'are'} not what the audit trail says"


def _compared(report: ReconcileReport) -> str:
    """Say what was held against the trail."""
    text = (
        f"{terminal.count(report.versions, 'object version')} in {terminal.count(report.buckets, 'bucket')}, "
        f"{terminal.format_size(report.bytes)} read, held against the trail"
    )
    if report.unread:
        text += (
            f"; the bytes of {report.unread} were not looked at, since a customer has the key or it was destroyed, and "
            "the rest of them agrees"
        )
    if report.not_looked_at:
        text += (
            f"; the bytes of {report.not_looked_at} were not looked at, since their keys cannot be used "
            f"({report.why_not}), and the rest of them agrees"
        )
    return text


def _beginnings(vault: Vault) -> list[str]:
    """Return notes on how the trail begins: one that was begun anew is sound in itself."""
    notes = []
    created_ns = vault.store.engine.created_ns
    for record in vault.store.auditor.query(limit=5):
        if record.action == "TrailRestarted":
            notes.append(
                f"the trail was begun anew at {_iso(record.time_ns)[:19]}Z by {record.identity or 'somebody'}: "
                f"{record.detail.get('reason', '')}; the one before it is in {record.detail.get('moved_to', '')}"
            )
        elif record.action == "TrailBegun" and record.time_ns - created_ns > _DAY_NS:
            days = (record.time_ns - created_ns) // _DAY_NS
            notes.append(
                f"the trail begins {terminal.count(days, 'day')} after the vault was made: an upgrade, a restart, or "
                "somebody who removed the one before it; a head that was kept elsewhere would tell"
            )
    return notes


def _since_option(command: Any) -> Any:
    return click.option("--since", metavar="TIME", help="From this time on (ISO 8601, UTC if no zone is given).")(
        command
    )


def _until_option(command: Any) -> Any:
    return click.option("--until", metavar="TIME", help="Before this time.")(command)


@audit.command()
@_since_option
@_until_option
@click.option("--identity", metavar="PATTERN", help="Who: an ARN, an access key, local:UID; * for any letters.")
@click.option("--bucket", metavar="PATTERN", help="The bucket.")
@click.option("--key", metavar="PATTERN", help="The object's key.")
@click.option("--action", metavar="PATTERN", help="S3's name of what was done: PutObject, Delete*, …")
@click.option("--result", metavar="PATTERN", help="ok, or the code of the error: AccessDenied, ObjectLocked, …")
@click.option("--category", type=click.Choice(_CATEGORIES), help="Changes, reads, refusals, or the store's own.")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="At most N records.")
@click.option("--newest", "newest_first", is_flag=True, help="The newest first.")
@vault_option
@json_option
def query(
    *,
    since: str | None,
    until: str | None,
    identity: str | None,
    bucket: str | None,
    key: str | None,
    action: str | None,
    result: str | None,
    category: str | None,
    limit: int | None,
    newest_first: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Print the records that fit.

    \b
    Examples:
      tickvault audit query --newest -n 20
      tickvault audit query --bucket orders --action 'Delete*' --since 2026-01-05
      tickvault audit query --category refusal --json
    """
    from tickvault.audit.record import Category

    with open_vault(vault_dir) as vault:
        found = vault.audit.query(
            since_ns=_time(since, "--since"),
            until_ns=_time(until, "--until"),
            identity=identity,
            bucket=bucket,
            key=key,
            action=action,
            result=result,
            category=None if category is None else Category[category.upper()],
            limit=limit,
            newest_first=newest_first,
        )
        count = 0
        for record in found:
            count += 1
            if as_json:
                terminal.answer_json(_record(record))
            else:
                terminal.answer(terminal.printable(_line(record)))
    terminal.say(terminal.count(count, "record"))


@audit.command()
@click.argument("destination", metavar="FOLDER")
@_since_option
@_until_option
@click.option(
    "--format",
    "formats",
    type=click.Choice(["jsonl", "parquet"]),
    multiple=True,
    help="Besides the blocks; both by default. Parquet needs pyarrow.",
)
@vault_option
@json_option
def export(
    *,
    destination: str,
    since: str | None,
    until: str | None,
    formats: tuple[str, ...],
    vault_dir: str,
    as_json: bool,
) -> None:
    """Write a bundle for somebody who does not have this store.

    FOLDER is made; it holds the signed blocks, the records as JSON Lines and Parquet, the public keys, an index,
    and verify.py, which checks all of it with nothing but Python.

    \b
    Examples:
      tickvault audit export evidence
      tickvault audit export evidence-2026-01 --since 2026-01-01 --until 2026-02-01
      python3 evidence/verify.py --head @/mnt/safe/heads.txt
    """
    options: dict[str, Any] = {"formats": formats} if formats else {}
    with open_vault(vault_dir) as vault:
        report = vault.audit.export(
            destination, since_ns=_time(since, "--since"), until_ns=_time(until, "--until"), **options
        )
    if as_json:
        terminal.answer_json({"destination": os.path.abspath(destination), "records": report.records})
    terminal.say(
        f"exported {terminal.count(report.records, 'record')} to {destination}; check it with: "
        f"python3 {os.path.join(destination, 'verify.py')}"
    )


@audit.command()
@vault_option
@json_option
def head(vault_dir: str, as_json: bool) -> None:
    """Print the head of the trail, a line to keep elsewhere.

    Whoever has it can tell that the trail was cut short, rewritten or replaced by an older copy since: give it to
    `audit verify --head`. A timer that sends it to another machine once an hour is enough.

    \b
    Examples:
      tickvault audit head
      tickvault audit head | ssh safe 'cat >> heads.txt'
    """
    with open_vault(vault_dir) as vault:
        found = vault.audit.head()
    if found is None:
        raise NotFoundError(f"there is no audit trail in {vault_dir} yet")
    if as_json:
        terminal.answer_json({"head": str(found), "sequence": found.sequence, "block": found.block_number})
    else:
        terminal.answer(str(found))


@audit.command("rotate-key")
@vault_option
@json_option
def rotate_key(vault_dir: str, as_json: bool) -> None:
    """Let a new key sign the trail from now on.

    The present key signs a block that names the new one, and is then destroyed; its public half stays in the trail.

    \b
    Examples:
      tickvault audit rotate-key
    """
    with open_vault(vault_dir) as vault:
        key_id = vault.audit.rotate_key()
    if as_json:
        terminal.answer_json({"key_id": key_id})
    terminal.say(f"key {key_id} signs from now on; keep a copy of {os.path.join(vault_dir, 'audit', 'signers.json')}")


@audit.command("set-hash")
@click.argument("algorithm", type=click.Choice(["sha-256", "sm3"]))
@vault_option
@json_option
def set_hash(algorithm: str, vault_dir: str, as_json: bool) -> None:
    """Choose the hash that links the blocks from now on.

    SHA-256 unless chosen otherwise; SM3 (GB/T 32905) where Chinese rules ask for it. Blocks that are there stay.

    \b
    Examples:
      tickvault audit set-hash sm3
    """
    with open_vault(vault_dir) as vault:
        vault.audit.set_hash(algorithm)
    if as_json:
        terminal.answer_json({"hash": algorithm})
    terminal.say(f"blocks of the audit trail are linked with {algorithm} from now on")


@audit.command()
@click.option("--tsa", "url", metavar="URL", required=True, help="Address of the time-stamping authority (RFC 3161).")
@vault_option
@json_option
def timestamp(url: str, vault_dir: str, as_json: bool) -> None:
    """Have an authority confirm the head of the trail.

    Its token goes into the chain: it shows that everything before it existed at that time.

    \b
    Examples:
      tickvault audit timestamp --tsa http://timestamp.example.com
    """
    with open_vault(vault_dir) as vault:
        found = vault.audit.timestamp(url)
    if as_json:
        terminal.answer_json({"head": str(found)})
    terminal.say(f"the authority confirmed the trail up to record {found.sequence}")


@audit.command()
@click.option("--reason", metavar="TEXT", required=True, help="Why; the first thing that the new trail says.")
@click.option("--even-if-sound", is_flag=True, help="Also a trail with which nothing is wrong.")
@vault_option
@json_option
def restart(reason: str, even_if_sound: bool, vault_dir: str, as_json: bool) -> None:
    """Put a broken trail aside and begin a new one.

    Nothing can be added to a trail that is broken. The old one is moved, whole, into a folder beside the new one,
    which names it: it stays as evidence. Whoever keeps a head of it will notice, as they should.

    \b
    Examples:
      tickvault audit restart --reason 'disk of 2026-01-05, see incident 17'
    """
    with open_vault(vault_dir) as vault:
        folder = vault.audit.restart(reason, even_if_sound=even_if_sound)
    if as_json:
        terminal.answer_json({"moved_to": folder})
    terminal.say(f"the old trail is in {folder}; a new one was begun")


audit.add_command(ship)


def _head(text: str) -> Head:
    from tickvault.audit.head import Head

    if text.startswith("@"):
        with open(text[1:], encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
        if not lines:
            raise InvalidInputError(f"--head {text}: the file is empty")
        # A file that grows by a line an hour: the last one says most.
        text = lines[-1]
    return Head.parse(text.strip())


def _time(text: str | None, option: str) -> int | None:
    """Return a time of the command line as nanoseconds since the epoch."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{option} {text!r}: write a time as 2026-01-05 or 2026-01-05T14:30:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000


def _record(record: AuditRecord) -> dict[str, Any]:
    found = record._asdict()
    found["category"] = record.category.name.lower()
    found["time"] = _iso(record.time_ns)
    found["detail"] = dict(record.detail)
    return found


def _iso(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9:09d}Z"


def _line(record: AuditRecord) -> str:
    """Return a record as one line for a reader."""
    where = f"{record.bucket}/{record.key}" if record.bucket and record.key else record.bucket or record.key or "-"
    if record.version_id and record.version_id != "null":
        where += f"@{record.version_id}"
    who = record.identity or "-"
    size = f"  {terminal.format_size(record.size_bytes)}" if record.size_bytes else ""
    detail = "".join(f"  {name}={value}" for name, value in record.detail.items() if name != "user_agent")
    return (
        f"{record.sequence:>8}  {_iso(record.time_ns)[:23]}Z  {record.action:<24} {record.result:<14} {who}  "
        f"{record.door} {record.source}  {where}{size}{detail}"
    )

"""`tickvault keys`: the keys that data keys are wrapped with.

Invariants: no secret is an argument, read from the environment, or printed; a key that a locked version needs is not
destroyed, and none without a yes; every change is in the vault's audit trail.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option
from tickvault.errors import ConflictError, InvalidInputError, TickVaultError, exit_code

if TYPE_CHECKING:
    from tickvault.objects.encryption.key_uses import KeyUses
    from tickvault.objects.encryption.rewrapping import RewrapReport
    from tickvault.security.keyring import KeyDescription

_SUITES = ("aes-256-gcm", "sm4-gcm")


@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Make, rotate and destroy the keys of encryption.

    A vault keeps its keys in security/keyring.json, sealed by a key file beside it, by a passphrase, or by a key
    file elsewhere (TICKVAULT_KEYRING_PASSPHRASE_FILE, TICKVAULT_KEYRING_KEY_FILE); or has them in a key service
    (TICKVAULT_KEY_SERVICE). No command prints a key.

    \b
    Examples:
      tickvault keys create desk-7
      tickvault bucket create orders --encryption aes-256-gcm --key desk-7
      tickvault keys rotate desk-7
      tickvault keys rewrap orders
    """
    help_without_command(context)


@keys.command("list")
@vault_option
@json_option
def list_(*, vault_dir: str, as_json: bool) -> None:
    """List the keys, destroyed ones too.

    \b
    Examples:
      tickvault keys list
      tickvault keys list --json
    """
    with open_vault(vault_dir) as vault:
        found = vault.store.keys.list()
    for one in found:
        if as_json:
            terminal.answer_json(key_record(one))
        else:
            changed = terminal.format_time(one.changed_ns or one.created_ns)
            version = f"version {one.current_version}" if one.current_version else ""
            terminal.answer(f"{one.key_id:<24}  {one.state:<9}  {one.suite:<11}  {version:<12}  {changed}".rstrip())


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--suite",
    type=click.Choice(_SUITES),
    default="aes-256-gcm",
    show_default=True,
    help="What it wraps data keys with; choose the one of the bodies.",
)
@vault_option
@json_option
def create(*, key_id: str, suite: str, vault_dir: str, as_json: bool) -> None:
    """Make a key.

    An id has 1 to 128 letters, digits, dots, underscores and hyphens. The id of a destroyed key is never used again.

    \b
    Examples:
      tickvault keys create desk-7
      tickvault keys create desk-cn --suite sm4-gcm
    """
    with open_vault(vault_dir) as vault:
        _told(vault.store.keys.create(key_id, suite=suite), "made", as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@vault_option
@json_option
def rotate(*, key_id: str, vault_dir: str, as_json: bool) -> None:
    """Make a new version of a key.

    What older versions wrapped stays readable. Data keys that are there stay wrapped by the version they have,
    until keys rewrap.

    \b
    Examples:
      tickvault keys rotate desk-7
    """
    with open_vault(vault_dir) as vault:
        _told(vault.store.keys.rotate(key_id), "rotated", as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@vault_option
@json_option
def disable(*, key_id: str, vault_dir: str, as_json: bool) -> None:
    """Refuse a key until it is enabled again.

    What it encrypts can be neither read nor written meanwhile. Every process notices within about a second.

    \b
    Examples:
      tickvault keys disable desk-7
    """
    with open_vault(vault_dir) as vault:
        _told(vault.store.keys.disable(key_id), "disabled", as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@vault_option
@json_option
def enable(*, key_id: str, vault_dir: str, as_json: bool) -> None:
    """Take keys disable back.

    \b
    Examples:
      tickvault keys enable desk-7
    """
    with open_vault(vault_dir) as vault:
        _told(vault.store.keys.enable(key_id), "enabled", as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Only say which versions would become unreadable.")
@click.option("--yes", is_flag=True, help="Do not ask; a script must give it.")
@vault_option
@json_option
def destroy(*, key_id: str, dry_run: bool, yes: bool, vault_dir: str, as_json: bool) -> None:
    """Destroy a key, and with it what it encrypts.

    Nothing that it encrypts can ever be read again, so the command asks first. Refused, with exit status 6, while a
    version under a retention or a legal hold needs the key. The versions stay in listings and can be deleted. Copies of
    the keyring file that were made before still hold the key.

    \b
    Examples:
      tickvault keys destroy desk-7 --dry-run
      tickvault keys destroy desk-7
      tickvault keys destroy desk-7 --yes
    """
    from tickvault.objects.encryption.key_uses import destroy_key, uses_of_key

    with open_vault(vault_dir) as vault, terminal.Progress("look at encrypted versions") as progress:
        if dry_run or not yes:
            found = vault.store.keys.describe(key_id)
            uses = uses_of_key(vault.store, key_id, progress=progress)
        if not dry_run:
            if not yes and not uses.locked:  # what is locked is refused, whatever the answer
                progress.wipe()
                terminal.confirm(
                    f"{terminal.count(uses.versions, 'version')} will be unreadable for good. Destroy key {key_id}?",
                    otherwise="look with --dry-run, then give --yes",
                )
            found, uses = destroy_key(vault.store, key_id, progress=progress)
    if as_json:
        terminal.answer_json(key_record(found) | _uses_record(uses) | {"destroyed": not dry_run})
    will = "would become" if dry_run else "became"
    named = "names" if uses.buckets == 1 else "name"
    terminal.say(
        f"{'nothing was destroyed' if dry_run else f'destroyed key {key_id}'}; "
        f"{terminal.count(uses.versions, 'version')} {will} unreadable"
        + (f", {uses.locked} of them locked: the key cannot be destroyed" if uses.locked else "")
        + (f"; {terminal.count(uses.uploads, 'upload')} in progress" if uses.uploads else "")
        + (f"; {terminal.count(uses.buckets, 'bucket')} still {named} it for new versions" if uses.buckets else "")
    )


@keys.command()
@click.argument("bucket", metavar="BUCKET")
@click.option("--key", "key_id", metavar="ID", help="Move all versions to this key.")
@vault_option
@json_option
def rewrap(*, bucket: str, key_id: str | None, vault_dir: str, as_json: bool) -> None:
    """Wrap the data keys of a bucket's versions anew.

    Each gets the current version of its key. No body is read or written, so this takes locked versions too. With
    --key they are moved to another key, so that the old one can be destroyed. What stays as it was (under a disabled
    key, damaged, or an upload in progress under another key than --key) ends the command with the exit status of the
    reason, not with 0.

    \b
    Examples:
      tickvault keys rewrap orders
      tickvault keys rewrap orders --key desk-8
    """
    with open_vault(vault_dir) as vault, terminal.Progress(f"rewrap {bucket}") as progress:
        report = vault.bucket(bucket).rewrap(key_id, progress=progress)
    if as_json:
        terminal.answer_json(
            {
                "bucket": bucket,
                "rewrapped": report.rewrapped,
                "current": report.current,
                "failed": report.failed,
                "first_failure": report.first_failure or None,
                "uploads": report.uploads,
            }
        )
    terminal.say(
        f"rewrapped {terminal.count(report.rewrapped, 'data key')} in bucket {bucket}; "
        f"{report.current} had the current version already"
    )
    if not report.complete:
        raise _left(bucket, report)


def _left(bucket: str, report: RewrapReport) -> TickVaultError:
    """Return the error of a rewrap that left something as it was; of the class of the reason, if there is one only."""
    texts = []
    kinds: list[type[TickVaultError]] = [type(error) for error in report.errors]
    if report.failed:
        stay = "version stays as it is" if report.failed == 1 else "versions stay as they are"
        texts.append(f"{report.failed} {stay}, such as {report.first_failure}")
    if report.uploads:
        kinds.append(ConflictError)
        need = "upload in progress needs" if report.uploads == 1 else "uploads in progress need"
        texts.append(f"{report.uploads} {need} another key; complete or abort what is begun, then rewrap again")
    kind = kinds[0] if len({exit_code(each("")) for each in kinds}) == 1 else TickVaultError
    return kind(f"rewrap {bucket}: {'; '.join(texts)}. Destroy no key before this ends with 0")


@keys.command()
@click.option("--passphrase-file", metavar="FILE", help="A private file with the new passphrase.")
@click.option("--key-file", metavar="FILE", help="A private file of 32 random bytes.")
@vault_option
@json_option
def protect(*, passphrase_file: str | None, key_file: str | None, vault_dir: str, as_json: bool) -> None:
    """Seal the keyring with another passphrase or key file.

    Whatever opens the vault afterwards needs TICKVAULT_KEYRING_PASSPHRASE_FILE or TICKVAULT_KEYRING_KEY_FILE with
    that file; restart what has it open. Older copies of the keyring still open with what protected them.

    \b
    Examples:
      tickvault keys protect --passphrase-file /etc/tickvault/passphrase
      tickvault keys protect --key-file /mnt/token/keyring.key
    """
    from tickvault.security.keyring import KeyFile, Passphrase, Protection
    from tickvault.security.keyring.protection import KEY_FILE_VARIABLE, PASSPHRASE_FILE_VARIABLE

    if (passphrase_file is None) == (key_file is None):
        raise InvalidInputError("keys protect: give --passphrase-file or --key-file, one of them")
    protection: Protection
    if passphrase_file is not None:
        protection = Passphrase.from_file(passphrase_file)
    else:
        assert key_file is not None, "one of the two"
        protection = KeyFile(key_file)
    variable = KEY_FILE_VARIABLE if passphrase_file is None else PASSPHRASE_FILE_VARIABLE
    with open_vault(vault_dir) as vault:
        vault.store.keys.protect(protection)
    # Whatever opens the vault later may stand in another folder.
    file = os.path.abspath(passphrase_file or key_file or "")
    if as_json:
        terminal.answer_json({"protection": protection.kind, "variable": variable, "file": file})
    terminal.say(
        f"sealed the keyring with {file}; set {variable}={file} for whatever opens {vault_dir} from now on. A key file "
        "that the vault made itself (security/keyring.key) opens older copies of the keyring only; delete it"
    )


def key_record(found: KeyDescription) -> dict[str, Any]:
    """Return what may be told of a key."""
    return {
        "key_id": found.key_id,
        "state": found.state,
        "suite": found.suite,
        "current_version": found.current_version,
        "versions": list(found.versions),
        "created_ns": found.created_ns,
        "created_by": found.created_by,
        "changed_ns": found.changed_ns or None,
        "changed_by": found.changed_by or None,
    }


def _uses_record(uses: KeyUses) -> dict[str, Any]:
    return {
        "object_versions": uses.versions,
        "object_versions_locked": uses.locked,
        "uploads": uses.uploads,
        "buckets": uses.buckets,
        "object_versions_damaged": uses.unreadable,
    }


def _told(found: KeyDescription, what: str, as_json: bool) -> None:
    if as_json:
        terminal.answer_json(key_record(found))
    version = f", version {found.current_version}" if found.current_version else ""
    state = "" if found.state == what else f"; it is {found.state}"
    terminal.say(f"{what} key {found.key_id} ({found.suite}{version}){state}")

"""`tickvault bucket`: create, list and delete buckets.

Invariants: a bucket that holds anything is deleted only with --recursive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option
from tickvault.cli.records import bucket_record
from tickvault.cli.retention import parse_retention
from tickvault.errors import InvalidInputError

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.vault import Vault


@click.group(invoke_without_command=True)
@click.pass_context
def bucket(context: click.Context) -> None:
    """Create, list and delete buckets.

    \b
    Examples:
      tickvault bucket create raw
      tickvault bucket list
      tickvault bucket delete raw
    """
    help_without_command(context)


@bucket.command()
@click.argument("name", metavar="BUCKET")
@click.option("--versioning", is_flag=True, help="Keep every version of every object.")
@click.option(
    "--durability",
    type=click.Choice(["strict", "relaxed"]),
    default="strict",
    show_default=True,
    help="strict: on disk before the command returns; relaxed: soon after.",
)
@click.option("--object-lock", is_flag=True, help="Versions may be locked; cannot be turned off, and keeps versions.")
@click.option(
    "--retention",
    metavar="PRESET|MODE:DAYS",
    help="How new versions are kept, such as sec-17a-4 or COMPLIANCE:365; implies --object-lock.",
)
@click.option(
    "--encryption", type=click.Choice(["aes-256-gcm", "sm4-gcm"]), help="Encrypt new versions at rest with this suite."
)
@click.option(
    "--key", "key_id", metavar="ID", help="A key of yours for --encryption (S3's aws:kms); else the vault's own."
)
@vault_option
@json_option
def create(
    *,
    name: str,
    versioning: bool,
    durability: Literal["strict", "relaxed"],
    object_lock: bool,
    retention: str | None,
    encryption: str | None,
    key_id: str | None,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Create a bucket, and the vault if there is none yet.

    A name has 3 to 63 lower-case letters, digits, dots and hyphens.

    \b
    Examples:
      tickvault bucket create raw
      tickvault bucket create journal --versioning --durability strict
      tickvault bucket create orders --retention sec-17a-4
      tickvault bucket create secret --encryption aes-256-gcm
    """
    default = None if retention is None else parse_retention(retention)
    if key_id is not None and encryption is None:
        raise InvalidInputError("bucket create: --key needs --encryption, the suite that bodies are encrypted with")
    asked = None if encryption is None else {"suite": encryption, "key": key_id}
    with open_vault(vault_dir, create=True) as vault:
        made = vault.store.create_bucket(
            name,
            versioning=versioning,
            durability=durability,
            object_lock=object_lock,
            retention=default,
            encryption=asked,
        )
        if as_json:
            terminal.answer_json(bucket_record(made.info))
        terminal.say(f"created bucket {name} in {vault_dir}")


@bucket.command("list")
@click.option("-l", "--long", "is_long", is_flag=True, help="Show creation time and settings as well.")
@vault_option
@json_option
def list_(is_long: bool, vault_dir: str, as_json: bool) -> None:
    """List the buckets of a vault.

    \b
    Examples:
      tickvault bucket list
      tickvault bucket list --json
    """
    with open_vault(vault_dir) as vault:
        list_buckets(vault, is_long=is_long, as_json=as_json)


@bucket.command()
@click.argument("name", metavar="BUCKET")
@click.option("-r", "--recursive", is_flag=True, help="Destroy all objects, versions and uploads in it first.")
@vault_option
@json_option
def delete(name: str, recursive: bool, vault_dir: str, as_json: bool) -> None:
    """Delete a bucket.

    A bucket that holds anything is refused with exit status 5, unless --recursive is given.

    \b
    Examples:
      tickvault bucket delete raw
      tickvault bucket delete scratch --recursive
    """
    removed = 0
    with open_vault(vault_dir) as vault:
        if recursive:
            with terminal.Progress(f"delete {name}") as progress:
                removed = _empty(vault.store.bucket(name), progress)
        vault.store.delete_bucket(name)
    if as_json:
        terminal.answer_json({"bucket": name, "deleted": True, "versions_removed": removed})
    terminal.say(f"deleted bucket {name}" + (f" with {terminal.count(removed, 'version')}" if removed else ""))


def list_buckets(vault: Vault, *, is_long: bool, as_json: bool) -> None:
    """Print the buckets of a vault, for `bucket list` and for `ls` without a bucket."""
    for info in vault.store.list_buckets():
        if as_json:
            terminal.answer_json(bucket_record(info))
        elif is_long:
            settings = f"{info.durability}, versioning {info.versioning}"
            settings += ", locked" if info.object_lock is not None else ""
            terminal.answer(f"{terminal.format_time(info.created_ns)}  {settings:<35}  {info.name}")
        else:
            terminal.answer(info.name)


def _empty(target: Bucket, progress: terminal.Progress) -> int:
    removed = 0
    while page := target.list_versions_page(limit=1000).versions:
        for result in target.delete_many([(info.key, info.version_id) for info in page]):
            if isinstance(result, Exception):
                raise result
            removed += 1
            progress(removed, 0, "versions")
    while uploads := target.list_uploads_page(limit=1000).uploads:
        for upload in uploads:
            target.abort_upload(upload.key, upload.upload_id)
    return removed

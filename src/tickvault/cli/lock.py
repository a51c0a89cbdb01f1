"""`tickvault lock`: object lock of buckets, retention of versions, presets, and the compliance clock.

Invariants: decides nothing: the vault's guard does, inside the commit; nothing here takes a lock off a bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option, version_id_option
from tickvault.cli.places import parse_object, parse_place
from tickvault.cli.records import object_lock_record
from tickvault.cli.retention import default_record, described_default, mode_option, parse_until
from tickvault.errors import InvalidInputError
from tickvault.objects.lock.retention import PRESETS, BucketLock, bucket_lock, check_mode, check_period, time_text

if TYPE_CHECKING:
    from tickvault.objects.lock.clock import ClockReading
    from tickvault.objects.model import BucketInfo, ObjectInfo


@click.group(invoke_without_command=True)
@click.pass_context
def lock(context: click.Context) -> None:
    """Keep versions from change and removal until a day (WORM).

    \b
    Examples:
      tickvault lock enable orders --preset sec-17a-4
      tickvault lock set orders/2026/1 --mode GOVERNANCE --until 2031-01-01
      tickvault lock show orders/2026/1
    """
    help_without_command(context)


@lock.command()
@click.argument("name", metavar="BUCKET")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="A retention that a regulation asks for.")
@mode_option("--mode", help_text="How new versions are kept, with --days or --years.")
@click.option("--days", type=int, metavar="N", help="Keep new versions for N days.")
@click.option("--years", type=int, metavar="N", help="Keep new versions for N years of the calendar.")
@vault_option
@json_option
def enable(
    *,
    name: str,
    preset: str | None,
    mode: str | None,
    days: int | None,
    years: int | None,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Turn object lock on, for good, or change the default.

    The bucket must keep versions (bucket create --versioning; bucket create --object-lock does both). Versions that
    are there already get no retention: lock set gives them one. Object lock cannot be turned off again; without
    --preset and --mode new versions get no retention of their own from now on.

    \b
    Examples:
      tickvault lock enable orders
      tickvault lock enable orders --preset mifid-ii
      tickvault lock enable orders --mode GOVERNANCE --days 30
    """
    asked = _default(preset, mode, days, years)
    with open_vault(vault_dir) as vault:
        info = vault.store.bucket(name).set_object_lock(asked)
    if as_json:
        terminal.answer_json(_bucket_record(info))
    terminal.say(f"object lock of bucket {name} is on, for good; new versions get: {described_default(asked)}")


def _default(preset: str | None, mode: str | None, days: int | None, years: int | None) -> BucketLock:
    if preset is not None:
        if mode is not None or days is not None or years is not None:
            raise InvalidInputError("lock enable: a --preset has its mode and period; give it alone")
        return bucket_lock(preset)
    if mode is None:
        if days is not None or years is not None:
            raise InvalidInputError("lock enable: --days and --years need a --mode, GOVERNANCE or COMPLIANCE")
        return BucketLock()
    return BucketLock(check_mode(mode), *check_period(days or 0, years or 0))


@lock.command()
@click.argument("place", metavar="BUCKET[/KEY]")
@version_id_option
@vault_option
@json_option
def show(*, place: str, version_id: str | None, vault_dir: str, as_json: bool) -> None:
    """Show the lock of a bucket or of a version.

    \b
    Examples:
      tickvault lock show orders
      tickvault lock show orders/2026/1 --json
    """
    where = parse_place(place)
    if version_id and not where.key:
        raise InvalidInputError("lock show --version-id names a version of an object; write BUCKET/KEY")
    with open_vault(vault_dir) as vault:
        bucket = vault.store.bucket(where.bucket)
        if not where.key:
            info = bucket.info
            record, lines = _bucket_record(info), _bucket_lines(info)
        else:
            found = bucket.head(where.key, version_id=version_id)
            reading = vault.store.lock_clock.reading()
            record = object_lock_record(where.bucket, found)
            lines = _version_lines(found, 0 if reading is None else reading.trusted_ns)
    if as_json:
        terminal.answer_json(record)
        return
    for line in lines:
        terminal.answer(line)


@lock.command("set")
@click.argument("place", metavar="BUCKET/KEY")
@mode_option("--mode", help_text="COMPLIANCE yields to nobody, GOVERNANCE to --bypass-governance.")
@click.option("--until", metavar="TIME", help="When it ends: 2031-01-01T00:00:00Z, or a date for the end of that day.")
@click.option("--none", "lift", is_flag=True, help="Lift the retention, where that may be.")
@version_id_option
@click.option("--bypass-governance", is_flag=True, help="Shorten, change or lift a GOVERNANCE retention.")
@vault_option
@json_option
def set_(
    *,
    place: str,
    mode: str | None,
    until: str | None,
    lift: bool,
    version_id: str | None,
    bypass_governance: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Set or extend the retention of a version.

    A retention can always be extended. Shortening, changing or lifting one ends with status 6, unless its mode is
    GOVERNANCE and --bypass-governance is given.

    \b
    Examples:
      tickvault lock set orders/2026/1 --mode COMPLIANCE --until 2032-01-01T00:00:00Z
      tickvault lock set orders/2026/1 --mode GOVERNANCE --until 2027-06-30 --bypass-governance
      tickvault lock set orders/2026/1 --none --bypass-governance
    """
    where = parse_object(place)
    if lift == (mode is not None or until is not None):
        raise InvalidInputError("lock set takes --mode and --until, or --none")
    until_ns = None if until is None else parse_until(until, "--until")
    with open_vault(vault_dir) as vault:
        bucket = vault.store.bucket(where.bucket)
        info = bucket.retain(where.key, version_id, mode, until_ns, bypass_governance=bypass_governance)
    if as_json:
        terminal.answer_json(object_lock_record(where.bucket, info))
    name = terminal.printable(f"{where.bucket}/{info.key}")
    kept = "has no retention" if info.retention_mode is None else f"is kept until {time_text(info.retain_until_ns)}"
    terminal.say(f"{name} version {info.version_id} {kept}")


@lock.command()
@json_option
def presets(as_json: bool) -> None:
    """List the retentions that regulations ask for.

    \b
    Examples:
      tickvault lock presets
      tickvault lock presets --json
    """
    for one in PRESETS.values():
        if as_json:
            terminal.answer_json(
                {
                    "preset": one.name,
                    "mode": one.lock.mode,
                    "years": one.lock.years,
                    "years_max": one.years_max,
                    "rule": one.rule,
                }
            )
        else:
            terminal.answer(f"{one.name:<14}  {one.lock.mode}  {one.lock.years:>2} years  {one.rule}")


@lock.command()
@vault_option
@json_option
def clock(vault_dir: str, as_json: bool) -> None:
    """Show the clock by which retentions end.

    It counts the time that has passed while the vault's machine was running, and nobody can set it. What it lags
    behind the wall clock, retentions last longer than they say.

    \b
    Examples:
      tickvault lock clock
      tickvault lock clock --json
    """
    with open_vault(vault_dir) as vault:
        reading = vault.store.lock_clock.reading()
    if as_json:
        terminal.answer_json(_clock_record(reading))
        return
    if reading is None:
        terminal.answer("no bucket of this vault ever had object lock: its compliance clock has not been started")
        return
    for line in _clock_lines(reading):
        terminal.answer(line)


# -- words and records


def _bucket_record(info: BucketInfo) -> dict[str, Any]:
    default = info.object_lock
    return {"bucket": info.name, "object_lock": default is not None, "retention": default_record(default)}


def _bucket_lines(info: BucketInfo) -> list[str]:
    default = info.object_lock
    if default is None:
        return [f"object lock    off; turn it on: tickvault lock enable {info.name}"]
    return ["object lock    on, for good", f"new versions   {described_default(default)}"]


def _version_lines(info: ObjectInfo, trusted_ns: int) -> list[str]:
    lines = [f"version        {info.version_id}"]
    if info.retention_mode is None:
        lines.append("retention      none")
    else:
        state = "" if trusted_ns < info.retain_until_ns else " (over)"
        lines.append(f"retention      {info.retention_mode} until {time_text(info.retain_until_ns)}{state}")
    lines.append(f"legal hold     {'on' if info.legal_hold else 'off'}")
    return lines


def _clock_record(reading: ClockReading | None) -> dict[str, Any]:
    if reading is None:
        return {"started": False}
    return {
        "started": True,
        "trusted_ns": reading.trusted_ns,
        "wall_ns": reading.wall_ns,
        "lag_ns": reading.lag_ns,
        "jump_ns": reading.jump_ns,
    }


def _clock_lines(reading: ClockReading) -> list[str]:
    from tickvault.objects.lock.clock import JUMP_NS

    lines = [
        f"compliance clock  {terminal.format_time(reading.trusted_ns)}  by which retentions end",
        f"wall clock        {terminal.format_time(reading.wall_ns)}",
        f"lag               {terminal.format_duration(reading.lag_ns / 1e9)}  the machine, or the vault, was off: "
        "retentions last so much longer",
    ]
    if abs(reading.jump_ns) > JUMP_NS:
        way = "ahead of" if reading.jump_ns > 0 else "behind"
        lines.append(
            f"jump              {terminal.format_duration(abs(reading.jump_ns) / 1e9)}  the wall clock was set, and is "
            f"so much {way} the time that has passed; no retention ends sooner or later for it"
        )
    else:
        lines.append("jump              none  the wall clock goes with the time that has passed")
    return lines

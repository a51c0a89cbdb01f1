"""`tickvault audit ship`: the audit trail, sent on to other systems.

Invariants: nothing is sent that is not in the trail; a receiver that is down is told about, and costs nothing.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Literal

import click

from tickvault.cli import terminal
from tickvault.cli.options import help_without_command, json_option, open_vault, vault_option
from tickvault.errors import InvalidInputError, NotFoundError, TickVaultError

if TYPE_CHECKING:
    from tickvault.audit.ship import Shipper, SinkConfig
    from tickvault.vault import Vault

SINKS_FILE = "sinks.json"
_ROUND_S = 0.5


def _sinks_option(command: Any) -> Any:
    return click.option(
        "--sinks",
        "sinks_file",
        metavar="FILE",
        help="JSON list with the settings of each receiver; VAULT/audit/sinks.json if it is there.",
    )(command)


@click.group(invoke_without_command=True)
@click.pass_context
def ship(context: click.Context) -> None:
    """Send the audit trail to other systems.

    Splunk, Elasticsearch, OpenSearch, syslog, S3 access logs, webhooks: at least once, in order, each record with
    an id that never changes, from a cursor that survives everything. A receiver that is down for days misses
    nothing. What a receiver needs is in docs/how-to/ship-the-audit-trail.md.

    \b
    Examples:
      tickvault audit ship check
      tickvault audit ship run
      tickvault audit ship status
    """
    help_without_command(context)


@ship.command()
@_sinks_option
@vault_option
@json_option
def check(sinks_file: str | None, vault_dir: str, as_json: bool) -> None:
    """Read the settings of the receivers, and judge them.

    \b
    Examples:
      tickvault audit ship check --sinks sinks.json
    """
    with open_vault(vault_dir) as vault:
        for config in _sinks(vault, vault_dir, sinks_file):
            if as_json:
                terminal.answer_json({"sink": config.name, "kind": config.sink.kind})
            else:
                terminal.answer(f"{config.name}: {config.sink.kind}")
            config.sink.close()


@ship.command()
@_sinks_option
@click.option("--until-sent", is_flag=True, help="End once everything there is now has been acknowledged.")
@vault_option
@json_option
def run(sinks_file: str | None, until_sent: bool, vault_dir: str, as_json: bool) -> None:
    """Send until Ctrl-C.

    May run beside any number of servers and programs that use the vault; of several, one sends to each receiver
    and the others stand by.

    \b
    Examples:
      tickvault audit ship run
      tickvault audit ship run --sinks sinks.json --until-sent
    """
    from tickvault.audit.ship import Shipper
    from tickvault.audit.ship.trail_source import TrailSource

    stop = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open_vault(vault_dir) as vault:
        configs = _sinks(vault, vault_dir, sinks_file)
        # The trail is there once somebody has written into it.
        vault.audit.catch_up()
        source = TrailSource(vault.audit.folder)
        shippers = [Shipper(one.name, source, one.sink, vault.path, one.options) for one in configs]
        for shipper in shippers:
            shipper.start()
        terminal.say(f"sending to {', '.join(one.name for one in configs)}; end with Ctrl-C")
        try:
            _watch(vault, shippers, stop, until_sent=until_sent)
        except KeyboardInterrupt:
            pass
        finally:
            for shipper in shippers:
                shipper.stop()
            signal.signal(signal.SIGTERM, previous)
        for shipper in shippers:
            status = shipper.status()
            if as_json:
                terminal.answer_json(
                    {"sink": status.name, "acknowledged": status.acknowledged_sequence, "lag": status.lag_count}
                )
            terminal.say(f"{status.name}: up to record {status.acknowledged_sequence}, {status.lag_count} to go")


def _watch(vault: Vault, shippers: list[Shipper], stop: threading.Event, *, until_sent: bool) -> None:
    """Chain what comes in, and tell when a receiver begins to fail or recovers."""
    told: dict[str, str] = {}
    last = vault.audit.query(newest_first=True, limit=1)
    target = next((record.sequence for record in last), 0)
    while not stop.wait(_ROUND_S):
        for shipper in shippers:
            shipper.wake()
            status = shipper.status()
            trouble = f"{status.state}: {status.last_error}" if status.state in ("retrying", "halted") else ""
            if told.get(status.name, "") != trouble:
                told[status.name] = trouble
                terminal.interject(f"{status.name} {trouble or 'is taking events again'}")
        halted = [one.status() for one in shippers if one.status().state == "halted"]
        if until_sent and halted:
            # It may wait for a person for ever; a timer that started this should hear of it.
            raise TickVaultError("; ".join(f"{status.name} is halted: {status.last_error}" for status in halted))
        if until_sent and all(shipper.status().acknowledged_sequence >= target for shipper in shippers):
            return


@ship.command()
@_sinks_option
@vault_option
@json_option
def status(sinks_file: str | None, vault_dir: str, as_json: bool) -> None:
    """Print how far each receiver has acknowledged the trail.

    \b
    Examples:
      tickvault audit ship status
      tickvault audit ship status --json
    """
    from tickvault.audit.ship import Cursor
    from tickvault.audit.ship.trail_source import TrailSource

    with open_vault(vault_dir) as vault:
        configs = _sinks(vault, vault_dir, sinks_file)
        vault.audit.catch_up()
        source = TrailSource(vault.audit.folder)
        last = source.last_sequence
        halted: list[str] = []
        for config in configs:
            path = os.path.join(vault.audit.folder, "ship", f"{config.name}.json")
            try:
                cursor = Cursor.load(path, config.name, source)
                record = {
                    "sink": config.name,
                    "kind": config.sink.kind,
                    "acknowledged": cursor.sequence,
                    "lag": last - cursor.sequence,
                    "dead_letters": cursor.dead_letter_count,
                    "error": "",
                }
            except TickVaultError as error:
                record = {"sink": config.name, "kind": config.sink.kind, "error": str(error)}
                halted.append(config.name)
            if as_json:
                terminal.answer_json(record)
            elif record["error"]:
                terminal.answer(f"{config.name} ({config.sink.kind}): {record['error']}")
            else:
                terminal.answer(
                    f"{config.name} ({config.sink.kind}): up to record {record['acknowledged']} of {last}, "
                    f"{record['lag']} to go, {record['dead_letters']} dead letters"
                )
            config.sink.close()
    if halted:
        raise TickVaultError(f"nothing more is sent to {', '.join(halted)} until that is mended")


@ship.command()
@click.argument("receiver", type=click.Choice(["elastic", "opensearch"]))
@click.option(
    "--data-stream",
    default="logs-tickvault.audit-default",
    show_default=True,
    metavar="NAME",
    help="Data stream that the template is for.",
)
@json_option
def template(receiver: Literal["elastic", "opensearch"], data_stream: str, as_json: bool) -> None:
    """Print the index template of a receiver.

    Elasticsearch and OpenSearch need it before the first event.

    \b
    Examples:
      tickvault audit ship template elastic | curl -X PUT --data @- -H 'Content-Type: application/json' …
    """
    from tickvault.audit.ship import index_template

    found = index_template(receiver, data_stream=data_stream)
    if as_json:
        terminal.answer_json(found)
    else:
        terminal.answer(json.dumps(found, indent=2))


def _sinks(vault: Vault, vault_dir: str, sinks_file: str | None) -> list[SinkConfig]:
    from tickvault.audit.ship import sinks_from

    path = sinks_file or os.path.join(vault.audit.folder, SINKS_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: there is no such file; write the settings of the receivers there, as in "
            "docs/how-to/ship-the-audit-trail.md"
        ) from None
    except ValueError as error:
        raise InvalidInputError(f"{path}: is not JSON: {error}") from None

    def open_put(name: str) -> Any:
        bucket = vault.store.bucket(name)
        return lambda key, data: bucket.put(key, data, content_type="text/plain")

    return sinks_from(settings, open_put)

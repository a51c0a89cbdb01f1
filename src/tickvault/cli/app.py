"""The `tickvault` command: the group of all commands, and the one place where errors become exit statuses.

Invariants: every error on purpose ends as one line on stderr; Ctrl-C ends with 130 and a closed pipe with
141, both in silence; only a bug of ours shows a traceback, and ends with 70.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from tickvault._version import __version__
from tickvault.cli import interrupts, terminal
from tickvault.cli.audit import audit
from tickvault.cli.backup import backup
from tickvault.cli.bench import bench
from tickvault.cli.bucket import bucket
from tickvault.cli.compact import compact
from tickvault.cli.cp import cp
from tickvault.cli.demo import demo
from tickvault.cli.get import get
from tickvault.cli.hold import hold
from tickvault.cli.iam import iam
from tickvault.cli.ingest import ingest
from tickvault.cli.keys import keys
from tickvault.cli.lifecycle import lifecycle
from tickvault.cli.lock import lock
from tickvault.cli.ls import ls
from tickvault.cli.options import help_without_command
from tickvault.cli.put import put
from tickvault.cli.quality import quality
from tickvault.cli.read import read
from tickvault.cli.rebuild_index import rebuild_index
from tickvault.cli.restore import restore
from tickvault.cli.rm import rm
from tickvault.cli.security import security
from tickvault.cli.serve import serve
from tickvault.cli.simulate import simulate
from tickvault.cli.stat import stat
from tickvault.cli.statuses import EXIT_BUG, EXIT_INTERRUPTED, EXIT_LOCAL_FILE, EXIT_PIPE_CLOSED, EXIT_USAGE
from tickvault.cli.subscribe import subscribe
from tickvault.cli.symbols import symbols
from tickvault.cli.validate import validate
from tickvault.cli.verify import verify
from tickvault.cli.version import version
from tickvault.errors import TickVaultError, exit_code


class _Application(click.Group):
    """The group of commands, in the order in which they were added (the order of a first day)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe must show up here, not while the interpreter shuts down
            return result
        except BrokenPipeError:
            # The reader has gone (`| head`): whatever is still buffered has nowhere to go.
            terminal.discard_stdout()
            raise click.exceptions.Exit(EXIT_PIPE_CLOSED) from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and end the process, or return its exit status without `standalone_mode`."""
        status = self._status(args, prog_name, complete_var, extra)
        if standalone_mode:
            sys.exit(status)
        return status

    def _status(
        self,
        args: Sequence[str] | None,
        prog_name: str | None,
        complete_var: str | None,
        extra: dict[str, Any],
    ) -> int:
        try:
            with interrupts.raised():
                result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            terminal.fail(_usage_sentence(error))
            return EXIT_USAGE
        except click.ClickException as error:
            terminal.fail(error.format_message())
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            return EXIT_INTERRUPTED
        except TickVaultError as error:
            terminal.fail(str(error))
            return exit_code(error)
        except OSError as error:
            # Not a file of the vault (that is a StorageError) but the caller's own source or target.
            terminal.fail(_os_sentence(error))
            return EXIT_LOCAL_FILE
        except Exception:
            traceback.print_exc()
            terminal.fail("this is a bug in tickvault; please report it with the lines above")
            return EXIT_BUG
        return result if isinstance(result, int) else 0


def _usage_sentence(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "tickvault"
    message = error.format_message().rstrip(".")
    return f"{message}; see {path} --help"


def _os_sentence(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename is not None else reason


@click.group(cls=_Application, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.version_option(__version__, message="tickvault %(version)s", help="Print the release and end.")
@click.pass_context
def main(context: click.Context) -> None:
    """One store for the whole life of a trade.

    Objects live in buckets, buckets in a vault, a vault in a folder. Commands take the vault's folder with
    --vault (default ./data, or TICKVAULT_VAULT) and objects as BUCKET/KEY. No server has to run, and any
    number of commands and servers may use one vault at once.

    \b
    Examples:
      tickvault bucket create raw
      tickvault put prices.csv raw/2026-01-05/prices.csv
      tickvault ls raw --recursive -l
      tickvault serve data
    """
    help_without_command(context)


for _command in (
    demo,
    serve,
    bucket,
    put,
    get,
    ls,
    stat,
    rm,
    cp,
    lock,
    hold,
    iam,
    ingest,
    read,
    symbols,
    subscribe,
    validate,
    quality,
    simulate,
    verify,
    rebuild_index,
    compact,
    backup,
    restore,
    lifecycle,
    audit,
    keys,
    security,
    bench,
    version,
):
    main.add_command(_command)

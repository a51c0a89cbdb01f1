"""Options that several commands share, and the way they open the vault.

Invariants: an option has one name, one default and one help text in every command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tickvault.cli import interrupts, terminal
from tickvault.cli.waiting import CommitWatch, OpeningWatch
from tickvault.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from tickvault.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])

VAULT_DEFAULT = "./data"
VAULT_VARIABLE = "TICKVAULT_VAULT"


def vault_option(command: F) -> F:
    """Add ``--vault DIR``."""
    return click.option(
        "--vault",
        "vault_dir",
        metavar="DIR",
        envvar=VAULT_VARIABLE,
        show_envvar=True,
        default=VAULT_DEFAULT,
        show_default=True,
        help="Folder of the vault.",
    )(command)


def library_option(command: F) -> F:
    """Add ``--library NAME``."""
    return click.option("--library", metavar="NAME", required=True, help="Library of market data in the vault.")(
        command
    )


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, one object a line.")(command)


def recursive_option(help_text: str) -> Callable[[F], F]:
    """Add ``-r/--recursive`` with the meaning that it has in one command."""
    return click.option("-r", "--recursive", is_flag=True, help=help_text)


def version_id_option(command: F) -> F:
    """Add ``--version-id ID``."""
    return click.option("--version-id", metavar="ID", help="A version other than the current one.")(command)


def help_without_command(context: click.Context) -> None:
    """Print a group's help when none of its commands was named."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@contextmanager
def open_vault(vault_dir: str, *, create: bool = False) -> Iterator[Vault]:
    """Open the vault of a command; only `bucket create`, `demo`, `ingest` and `simulate` make a missing one."""
    with interrupts.ending_at_once():
        from tickvault import vault
        from tickvault.audit.actor import set_process_door

    set_process_door("cli")
    try:
        with OpeningWatch():
            opened = vault.open(vault_dir, create=create)
    except NotFoundError:
        raise NotFoundError(
            f"there is no vault in {vault_dir}; name another folder with --vault, or make one: "
            f"tickvault bucket create raw --vault {vault_dir}"
        ) from None
    engine = opened.store.engine
    with CommitWatch(engine), opened:
        if damage := engine.report.damage:
            # Recovery walks around damage; a listing that lacks what it walked around must not look complete.
            places = terminal.count(len(damage), "damaged place")
            terminal.say(f"warning: recovery found {places} in {vault_dir}; run: tickvault verify --vault {vault_dir}")
        try:
            yield opened
        finally:
            set_process_door("embedded")


def parse_pairs(pairs: Iterable[str], option: str) -> dict[str, str]:
    """Return ``NAME=VALUE`` options as a dict.

    >>> parse_pairs(["venue=XCME", "note=a=b"], "--metadata")
    {'venue': 'XCME', 'note': 'a=b'}

    Raises
    ------
    InvalidInputError
        A text has no ``=`` or no name, or a name comes twice.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInputError(f"{option} {pair!r}: write NAME=VALUE, such as venue=XCME")
        if name in result:
            raise InvalidInputError(f"{option} {pair!r}: {name!r} is given twice")
        result[name] = value
    return result

"""Options that several commands of `tickvault iam` share.

Invariants: an option has one name and one help text in every command; who is meant is named by exactly one of --user,
--group, --role and --service-account, which the vault checks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tickvault.cli.options import F
from tickvault.cli.retention import parse_until
from tickvault.errors import ConflictError, InvalidInputError

user_option = click.option("--user", metavar="NAME", help="The user.")
group_option = click.option("--group", metavar="NAME", help="The group.")
role_option = click.option("--role", metavar="NAME", help="The role.")
account_option = click.option("--service-account", "account", metavar="NAME", help="The service account.")
description_option = click.option("--description", metavar="TEXT", default="", help="What it is for.")
tag_option = click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag; may be repeated.")
secret_file_option = click.option(
    "--secret-file",
    metavar="FILE",
    help="Write access key and secret into this new file, which only you can read, as AWS's tools read them.",
)
expires_option = click.option(
    "--expires", metavar="TIME", help="Its end, such as 2030-12-31 or 2030-12-31T17:00:00Z; without it, none."
)


def holder_options(command: F) -> F:
    """Add ``--user``, ``--group`` and ``--role``."""
    return user_option(group_option(role_option(command)))


def one_of(what: str, **named: str | None) -> None:
    """Refuse a command that names none or several of those that it takes one of, by the names of their options."""
    if sum(name is not None for name in named.values()) != 1:
        options = [f"--{option.replace('_', '-')} NAME" for option in named]
        raise InvalidInputError(f"name {what}: {', '.join(options[:-1])} or {options[-1]}, one of them")


@contextmanager
def named_force() -> Iterator[None]:
    """Have what the vault refuses without force say how that is written on a command line."""
    try:
        yield
    except ConflictError as error:
        raise ConflictError(str(error).replace("force=True", "--force")) from None


def parse_expires(text: str | None) -> int | None:
    """Return the end of a key, nanoseconds since the epoch."""
    if text is None:
        return None
    end_ns = parse_until(text, "--expires")
    if end_ns <= time.time_ns():
        raise InvalidInputError(f"--expires {text}: has passed already")
    return end_ns


def one_owner(user: str | None, account: str | None) -> None:
    """Refuse a command that names neither or both of a user and a service account."""
    one_of("the owner of the key", user=user, service_account=account)

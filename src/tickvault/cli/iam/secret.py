"""A secret on its one way out: to the terminal, or into a file that only its owner can read.

Invariants: a secret goes to one place only; the file is made before the secret is, and never replaces one that is
there; it is readable by its owner alone from the first moment; where a secret could not be handed out, whoever asked is
told that the key is there and that nobody has its secret.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tickvault.cli import terminal
from tickvault.cli.statuses import EXIT_LOCAL_FILE
from tickvault.errors import AlreadyExistsError


@contextmanager
def file_for_secret(path: str | None) -> Iterator[int | None]:
    """Make the file for a secret, before there is one; it goes away again if making the secret fails."""
    if path is None:
        yield None
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExistsError(
            f"--secret-file {path}: there is a file of that name, which may hold another secret; choose another name, "
            "or remove it first; nothing was made"
        ) from None
    try:
        os.fchmod(fd, 0o600)
        try:
            yield fd
        except BaseException:
            os.unlink(path)
            raise
    finally:
        os.close(fd)


def hand_out(
    record: dict[str, Any],
    secret: str,
    *,
    token: str | None = None,
    fd: int | None,
    path: str | None,
    as_json: bool,
) -> None:
    """Give a secret to whoever asked for it.

    Raises
    ------
    click.ClickException
        It could not be written, and is lost; the message says what to do about the key.
    """
    try:
        _hand_out(record, secret, token, fd, path, as_json=as_json)
        sys.stdout.flush()
    except OSError as error:
        # What is still buffered would be tried again when the process ends.
        terminal.discard_stdout()
        raise _Lost(record["access_key"], error, temporary=token is not None) from None


class _Lost(click.ClickException):
    exit_code = EXIT_LOCAL_FILE

    def __init__(self, access_key: str, error: OSError, *, temporary: bool) -> None:
        reason = (error.strerror or str(error)).lower()
        if temporary:
            what = f"the session {access_key} has begun; begin another"
        else:
            what = (
                f"access key {access_key} was made, and nobody has its secret: delete it with tickvault iam key delete "
                f"{access_key}, then make another"
            )
        super().__init__(f"the secret could not be written ({reason}) and is lost; {what}")


def _hand_out(
    record: dict[str, Any], secret: str, token: str | None, fd: int | None, path: str | None, *, as_json: bool
) -> None:
    access_key = record["access_key"]
    if fd is not None:
        lines = ["[default]", f"aws_access_key_id = {access_key}", f"aws_secret_access_key = {secret}"]
        if token is not None:
            lines.append(f"aws_session_token = {token}")
        data = ("\n".join(lines) + "\n").encode()
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
        if as_json:
            terminal.answer_json({**record, "secret_file": path})
        else:
            terminal.answer(access_key)
        terminal.say(f"the secret is in {path}; use it with AWS_SHARED_CREDENTIALS_FILE={path}")
        return
    if as_json:
        terminal.answer_json({**record, "secret_key": secret, **({} if token is None else {"session_token": token})})
    else:
        terminal.answer(f"AWS_ACCESS_KEY_ID={access_key}")
        terminal.answer(f"AWS_SECRET_ACCESS_KEY={secret}")
        if token is not None:
            terminal.answer(f"AWS_SESSION_TOKEN={token}")
    terminal.say("keep the secret now: it is not shown again")

"""A secret on its one way out: to the terminal, or into a file that only its owner can read.

Invariants: a secret goes to one place only; the file is made before the secret is, and never replaces one that is
there; it is readable by its owner alone from the first moment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tickvault.cli import terminal
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
    """Give a secret to whoever asked for it."""
    access_key = record["access_key"]
    if fd is not None:
        lines = ["[default]", f"aws_access_key_id = {access_key}", f"aws_secret_access_key = {secret}"]
        if token is not None:
            lines.append(f"aws_session_token = {token}")
        os.write(fd, ("\n".join(lines) + "\n").encode())
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

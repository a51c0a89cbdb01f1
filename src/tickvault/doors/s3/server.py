"""Serving a vault over S3: the one function that the command line calls.

Invariants: everything that can be refused (options, port, certificate, the vault itself) is refused by an
exception before `on_ready` is called; this process never holds the store open.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tickvault.doors.s3 import crc64nvme
from tickvault.doors.s3.certificate import tls_context
from tickvault.doors.s3.door import Route
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.listening import bare_host, raise_descriptor_limit, reserve_port, url_host
from tickvault.doors.s3.supervisor import Counters, Supervisor, run_in_child
from tickvault.doors.s3.worker import DoorOptions
from tickvault.errors import InvalidInputError
from tickvault.security.credentials import Credentials, has_credentials, load_or_create

WORKERS_MAX = 256


class Endpoint(NamedTuple):
    """Where the door answers."""

    url: str
    host: str
    port: int
    """The one chosen by the system when 0 was asked for."""
    access_key: str
    credentials_path: str
    """The file that holds the secret; empty when the caller gave the key pair."""
    pid: int
    """Of this process, which passes SIGTERM on to its workers."""
    workers: int


def serve(
    store_path: str,
    *,
    host: str = "127.0.0.1",
    port: int = 9000,
    workers: int | None = None,
    certificate: str | None = None,
    private_key: str | None = None,
    domains: Sequence[str] = (),
    region: str = "us-east-1",
    allow_anonymous: bool = False,
    credentials: Credentials | None = None,
    limits: Limits | None = None,
    grace_s: float = 30.0,
    open_store: Callable[[str], Any] | None = None,
    route: Route | None = None,
    on_ready: Callable[[Endpoint], None] | None = None,
    on_tick: Callable[[Counters], None] | None = None,
) -> None:
    """Serve a vault over S3 until SIGTERM or SIGINT; blocks.

    Must be called from the main thread of a process that has not opened the vault, or has closed it again.

    Parameters
    ----------
    store_path : str
        Folder of the vault; made if missing.
    host, port : str, int
        Where to listen; port 0 chooses a free one, and an IPv6 address may stand in brackets.
    workers : int, optional
        Processes; one a CPU core when not given.
    certificate, private_key : str, optional
        PEM files; both or neither.
    domains : sequence of str
        Domains whose subdomains are buckets; path style works beside it.
    region : str
        What the bucket's location says; any region is accepted in signatures.
    allow_anonymous : bool
        Let unsigned requests through to the operations.
    credentials : Credentials, optional
        Root key pair; that of the environment or the vault when not given.
    limits : Limits, optional
        What clients may use up.
    grace_s : float
        Time for the requests in flight when stopping.
    open_store : callable, optional
        Opens the vault in a worker; `tickvault.objects.store.open_store` when not given.
    route : callable, optional
        Replaces the S3 operations, for tests of the transport.
    on_ready : callable, optional
        Called in the parent once every worker accepts connections.
    on_tick : callable, optional
        Called in the parent about once a second.

    Raises
    ------
    InvalidInputError
        An option breaks a rule, the address or port cannot be had, or the certificate cannot be used.
    TickVaultError
        What a worker's opening of the vault raised.
    """
    host = bare_host(host)
    count = (os.cpu_count() or 1) if workers is None else workers
    if not 1 <= count <= WORKERS_MAX:
        raise InvalidInputError(f"workers must be 1 to {WORKERS_MAX}, was {count}")
    tls = tls_context(certificate, private_key)
    opener = _default_open_store if open_store is None else open_store
    raise_descriptor_limit()
    with reserve_port(host, port) as placeholder:
        crc64nvme.warm()  # compiled here, the workers share the code
        if route is None:
            importlib.import_module("tickvault.doors.s3.router")  # likewise
        if credentials is None:
            if not has_credentials(store_path):
                run_in_child(lambda: opener(store_path).close())  # a new vault is made before its keys
            credentials = load_or_create(store_path)
        options = DoorOptions(
            secret_for=credentials.secret_for,
            domains=tuple(domains),
            region=region,
            allow_anonymous=allow_anonymous,
            limits=limits if limits is not None else Limits(),
            grace_s=grace_s,
            tls=tls,
            route=route,
        )
        address = placeholder.getsockname()
        url = f"{'https' if tls else 'http'}://{url_host(host)}:{address[1]}"
        endpoint = Endpoint(url, host, address[1], credentials.access_key, credentials.source, os.getpid(), count)
        parent = Supervisor(store_path, opener, options, placeholder, count)
        parent.run(
            on_ready=lambda: on_ready(endpoint) if on_ready is not None else None,
            on_tick=on_tick,
        )


def _default_open_store(path: str) -> Any:
    from tickvault.objects.store import open_store

    return open_store(path)

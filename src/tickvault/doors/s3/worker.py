"""One worker of the S3 door: an event loop, a listening socket, and the store they serve.

Invariants: a worker opens the store itself, after the fork; it is ready only when it listens; told to stop,
it takes no new connection, finishes the requests in flight within its grace, and then closes the store.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop

from tickvault.doors.s3.authorization.signer import SecretFor, Signers
from tickvault.doors.s3.door import Door, RefuseEarly, Route, refuse_nothing
from tickvault.doors.s3.http import Connection
from tickvault.doors.s3.limits import Limits
from tickvault.doors.s3.sigv4 import Authenticator
from tickvault.errors import TickVaultError
from tickvault.objects.identities import open_identities

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore
    from tickvault.security.identity import Identities

log = logging.getLogger("tickvault.s3")

THREAD_COUNT = 16
BACKLOG = 4096
#: A Python thread that computes keeps the interpreter this long at most while others want it, the committer
#: among them; Python's own 5 ms would be many commits long.
SWITCH_INTERVAL_S = 0.0005
#: Between two looks whether the last uses of access keys are to be written down, which happens hourly at most.
LAST_USED_ROUND_S = 60.0


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """How the door answers; the same for all workers."""

    secret_for: SecretFor = field(repr=False)
    """The secret of the root's access key; all other keys are those of the vault's identities."""
    domains: tuple[str, ...] = ()
    region: str = "us-east-1"
    allow_anonymous: bool = False
    limits: Limits = Limits()  # noqa: RUF009 -- frozen
    grace_s: float = 30.0
    tls: ssl.SSLContext | None = None
    route: Route | None = None
    """Replaces the S3 operations, for tests of the transport; it is given the store as its context."""
    refuse_early: RefuseEarly = refuse_nothing
    """Goes with `route`."""


def tune_interpreter() -> None:
    """Set the interpreter up for short waits; once a process, after everything was imported."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # What is loaded by now stays: collecting it again and again would be the longest pause of a worker.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def run_worker(
    store: ObjectStore,
    options: DoorOptions,
    listener: socket.socket,
    *,
    install_stop: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], None],
    on_ready: Callable[[], None],
    on_sweep: Callable[[Door], None] | None = None,
) -> None:
    """Serve until told to stop; returns once every connection is closed.

    Parameters
    ----------
    store : ObjectStore
        Opened in this process; the caller closes it.
    options : DoorOptions
        How to answer.
    listener : socket.socket
        Bound; closed on return.
    install_stop : callable
        Given the loop and what stops the worker; arranges for it to be called on the loop.
    on_ready : callable
        Called once the worker accepts connections.
    on_sweep : callable, optional
        Called with the door about twice a second.
    """
    executor = ThreadPoolExecutor(THREAD_COUNT, thread_name_prefix="tickvault-s3")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                _serve(
                    store,
                    options,
                    listener,
                    executor,
                    install_stop=install_stop,
                    on_ready=on_ready,
                    on_sweep=on_sweep,
                )
            )
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        listener.close()


async def _serve(
    store: ObjectStore,
    options: DoorOptions,
    listener: socket.socket,
    executor: ThreadPoolExecutor,
    *,
    install_stop: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], None],
    on_ready: Callable[[], None],
    on_sweep: Callable[[Door], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    context: Any = store
    route = options.route
    refuse_early = options.refuse_early
    identities = open_identities(store) if route is None else None
    signers = Signers(options.secret_for, identities)
    if route is None:
        from tickvault.doors.s3 import router
        from tickvault.doors.s3.context import Context

        route = router.route
        refuse_early = router.refuse_early
        context = Context(
            store=store,
            find=signers.find,
            domains=options.domains,
            region=options.region,
            allow_anonymous=options.allow_anonymous,
            executor=executor,
            identities=identities,
        )
    authenticator = Authenticator(signers.find, allow_anonymous=options.allow_anonymous)
    door = Door(
        context,
        route,
        authenticator,
        domains=options.domains,
        limits=options.limits,
        executor=executor,
        refuse_early=refuse_early,
        auditor=store.auditor if options.route is None and store.auditor.enabled else None,
    )
    if on_sweep is not None:
        door.on_sweep = lambda: on_sweep(door)
    stop = asyncio.Event()
    # A client that does not get through the handshake is not among the door's connections: this is its only limit.
    handshake_timeout_s = None if options.tls is None else options.limits.header_timeout_s
    server = await loop.create_server(
        lambda: Connection(door),
        sock=listener,
        ssl=options.tls,
        ssl_handshake_timeout=handshake_timeout_s,
        backlog=BACKLOG,
    )
    noting = None if identities is None else loop.create_task(_note_uses(identities, executor))
    try:
        install_stop(loop, stop.set)
        on_ready()
        await stop.wait()
        server.close()
        door.stop()
        try:
            await asyncio.wait_for(door.stopped.wait(), options.grace_s)
        except TimeoutError:
            log.warning("%d requests did not end within %g s", len(door.connections), options.grace_s)
            door.abort()
            await asyncio.sleep(0)
    finally:
        server.close()
        if noting is not None and identities is not None:
            noting.cancel()
            await loop.run_in_executor(executor, partial(_write_uses, identities, force=True))
        door.close()
        if door.on_sweep is not None:
            door.on_sweep()


async def _note_uses(identities: Identities, executor: ThreadPoolExecutor) -> None:
    """Have the last uses of access keys written down now and then, where no request waits for it."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LAST_USED_ROUND_S)
        await loop.run_in_executor(executor, partial(_write_uses, identities))


def _write_uses(identities: Identities, *, force: bool = False) -> None:
    try:
        identities.write_last_used(force=force)
    except TickVaultError as error:
        # The times are a help to whoever looks for unused keys; a vault that takes no writes says so elsewhere.
        log.warning("the last uses of access keys could not be written down: %s", error)


class DoorThread:
    """A worker in a thread of this process, for tests and notebooks.

    Parameters
    ----------
    store : ObjectStore
        Stays open when the door closes.
    options : DoorOptions
        How to answer.
    host : str
        Address to listen on.
    port : int
        0 chooses a free one.
    """

    def __init__(
        self,
        store: Any,
        options: DoorOptions,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"{'https' if options.tls else 'http'}://{host}:{self.port}"
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, args=(store, options), name="tickvault-s3-door", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop as a worker does, and wait for it."""
        self._stop()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> DoorThread:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self, store: Any, options: DoorOptions) -> None:
        def install_stop(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
            def stop_from_outside() -> None:
                try:
                    loop.call_soon_threadsafe(stop)
                except RuntimeError:
                    pass  # stopped already

            self._stop = stop_from_outside

        try:
            run_worker(
                store,
                options,
                self._listener,
                install_stop=install_stop,
                on_ready=self._ready.set,
            )
        except BaseException as error:  # kept for the thread that asked
            self._error = error
        finally:
            self._ready.set()

"""The S3 load generator, seen from the benchmark: batches of requests in, latencies and errors out.

The same generator, with the very same bytes, drives nginx and TickVault; `load_worker` is its process.

Invariants: a `LoadResult` holds latencies of right answers only; a wrong one is in `errors` by its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import numpy as np

from tickvault.bench.child import Message, Worker
from tickvault.bench.rounds import Nanoseconds, Sample, Timing


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one run found."""

    latencies: Nanoseconds
    wall_ns: int
    byte_count: int
    """Bytes of all right answers, heads included."""
    cpu_ns: int
    """CPU time of the generator itself."""
    errors: dict[str, int]

    @property
    def error_count(self) -> int:
        """Number of wrong or missing answers."""
        return sum(self.errors.values())

    @property
    def sample(self) -> Sample:
        """Percentiles, and requests per second."""
        return Timing(self.latencies, self.wall_ns, len(self.latencies)).sample

    @property
    def cpu_us_per_request(self) -> float:
        """What the generator spends on one request, in µs."""
        return self.cpu_ns / 1e3 / max(len(self.latencies), 1)

    @property
    def busy(self) -> float:
        """Share of the run in which the generator was on a core; near 1 it is itself the limit."""
        return self.cpu_ns / max(self.wall_ns, 1)


class LoadGenerator:
    """Drives one HTTP server at a time from a process of its own."""

    def __init__(self) -> None:
        self._worker = Worker("tickvault.bench.load_worker")

    @property
    def pid(self) -> int:
        """Process id of the generator."""
        return self._worker.pid

    def add_batch(
        self,
        name: str,
        requests: list[bytes],
        *,
        status: int = 200,
        length: int | None = None,
        beginnings: list[bytes] | None = None,
        key_count: int | None = None,
        has_body: bool = True,
    ) -> None:
        """Hand over requests of one kind, in the order they shall be sent, and what answers must look like.

        Parameters
        ----------
        name : str
            To name the batch by in `run`.
        requests : list of bytes
            Complete HTTP/1.1 requests; they are sent round and round, each run going on where the last one
            stopped.
        status : int
            Expected in every answer.
        length : int, optional
            Expected bytes of every body.
        beginnings : list of bytes, optional
            Expected first bytes of each body, one for each request.
        key_count : int, optional
            Expected number of ``<Key>`` elements in each listing.
        has_body : bool
            False for HEAD.
        """
        assert beginnings is None or len(beginnings) == len(requests)
        self._worker.call(
            "add_batch",
            name=name,
            requests=requests,
            status=status,
            length=length,
            beginnings=beginnings,
            key_count=key_count,
            has_body=has_body,
        )

    def set_target(self, host: str, port: int) -> None:
        """Let the next runs go to a server."""
        self._worker.call("set_target", host=host, port=port)

    def run(self, name: str, *, connection_count: int, seconds: float = 600.0, count: int | None = None) -> LoadResult:
        """Run a batch over some connections until the time or the number of requests is used up."""
        return _result(
            self._worker.call("run", name=name, connection_count=connection_count, seconds=seconds, count=count)
        )

    def open_idle(self, connection_count: int) -> tuple[int, str]:
        """Open connections and leave them alone; returns how many are open, and why not more."""
        reply = self._worker.call("open_idle", connection_count=connection_count)
        return reply["open_count"], reply["error_text"]

    def answer_idle(self, name: str, *, in_flight: int = 256) -> LoadResult:
        """Send one request over each idle connection, and wait for the answers."""
        return _result(self._worker.call("answer_idle", name=name, in_flight=in_flight))

    def close_idle(self) -> None:
        """Close the idle connections."""
        self._worker.call("close_idle")

    def close(self) -> None:
        """End the generator's process."""
        self._worker.close()

    def __enter__(self) -> LoadGenerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _result(reply: Message) -> LoadResult:
    return LoadResult(
        latencies=np.frombuffer(reply["latencies"], dtype=np.int64),
        wall_ns=reply["wall_ns"],
        byte_count=reply["byte_count"],
        cpu_ns=reply["cpu_ns"],
        errors=reply["errors"],
    )

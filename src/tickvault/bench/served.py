"""A vault behind its own S3 door, in processes of their own, as ``tickvault serve`` runs it.

Invariants: loopback only, on a port that the system chose; the server ends with the context; nothing of the
door is configured otherwise than by default, except the number of workers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from types import TracebackType

from tickvault.doors.s3.server import Endpoint, serve
from tickvault.errors import TickVaultError
from tickvault.objects.store import open_store
from tickvault.security.credentials import load_or_create

_STOP_SECONDS_MAX = 20.0


class ServedVault:
    """A context in which a vault is served.

    Parameters
    ----------
    path : str
        Folder of the vault.
    worker_count : int
        Processes that answer.
    audit : bool
        False leaves the audit trail out, to measure what it costs.

    Attributes
    ----------
    port : int
        On 127.0.0.1.
    access_key, secret_key : str
    """

    def __init__(self, path: str, *, worker_count: int, audit: bool = True) -> None:
        self._path = path
        self._audit = audit
        self._worker_count = worker_count
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.access_key = self.secret_key = ""

    @property
    def pid(self) -> int:
        """Process id of the parent of all workers."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> ServedVault:
        found = load_or_create(self._path)
        self.access_key, self.secret_key = found.access_key, found.secret_key
        command = [sys.executable, "-m", "tickvault.bench.served", self._path, str(self._worker_count)]
        command += [] if self._audit else ["unaudited"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise TickVaultError(f"the server ended with status {self._process.wait()} before it listened")
        self.port = json.loads(line)["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    """Serve the vault named on the command line, and print the port once every worker accepts."""

    def tell(endpoint: Endpoint) -> None:
        print(json.dumps({"port": endpoint.port}), flush=True)

    opener = partial(open_store, audit=sys.argv[3:] != ["unaudited"])
    serve(sys.argv[1], host="127.0.0.1", port=0, workers=int(sys.argv[2]), on_ready=tell, open_store=opener)


if __name__ == "__main__":
    main()

"""nginx as the limit of the S3 door: the same objects as static files, over the same loopback.

Invariants: nothing outside a temporary folder is written; the server listens on loopback only and ends with
the context; each request opens its file anew (no ``open_file_cache``), because a store too must see a change
at once.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from types import TracebackType

from tickvault.bench.machine import nginx_path
from tickvault.errors import TickVaultError

_START_SECONDS_MAX = 10.0

_CONFIG = """
daemon off;
{user}
worker_processes {worker_count};
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 12000; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}
}}
"""


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], what: str) -> None:
    """Return once a server accepts connections; raises TickVaultError if it ends or takes too long."""
    end = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < end:
        if process.poll() is not None:
            raise TickVaultError(f"{what} ended with status {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TickVaultError(f"{what} does not listen on port {port} after {_START_SECONDS_MAX:g} s")


class Nginx:
    """A context in which nginx serves a folder.

    Parameters
    ----------
    root : str
        Folder whose files are served.
    worker_count : int
        nginx's ``worker_processes``.

    Attributes
    ----------
    port : int
        On 127.0.0.1.
    """

    def __init__(self, root: str, *, worker_count: int = 1) -> None:
        self.port = free_port()
        self._root = os.path.abspath(root)
        self._worker_count = worker_count
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the master."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Nginx:
        program = nginx_path()
        if program is None:
            raise FileNotFoundError("nginx is not installed")
        self._folder = tempfile.mkdtemp(prefix="tickvault-nginx-")
        config = os.path.join(self._folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                _CONFIG.format(
                    # Started by root, nginx would change to a user who may not enter the temporary folder.
                    user="user root;" if os.geteuid() == 0 else "",
                    worker_count=self._worker_count,
                    folder=self._folder,
                    port=self.port,
                    root=self._root,
                )
            )
        self._process = subprocess.Popen(
            [program, "-p", self._folder, "-c", config, "-e", os.path.join(self._folder, "error.log")],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(self.port, self._process, "nginx")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

"""Shipping under kill -9: no record is lost, the order is kept, and a repeat comes only after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COUNT, BATCH, KILLS = 3000, 40, 6

_CHILD = f"""
import sys, time
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship import Shipper, sink_from

class Trail:
    trail_id, last_sequence = "t", {COUNT}
    def records(self, after, limit):
        last = min(after + limit, {COUNT})
        what = Category.CHANGE, "PutObject", "ok", 200, "s3", "a", "192.0.2.1", "r", "b", "k", "", 1
        return [AuditRecord(n, n, 0, *what, n) for n in range(after + 1, last + 1)]

made = sink_from({{"name": "hook", "type": "webhook", "url": sys.argv[1], "insecure": True, "batch_count_max": {BATCH},
                  "poll_interval_s": 0.05}})
shipper = Shipper(made.name, Trail(), made.sink, sys.argv[2], made.options)
shipper.start()
while shipper.status().lag_count:
    time.sleep(0.01)
sys.exit(0 if shipper.stop() else 1)
"""


def test_a_killed_shipper_loses_nothing(tmp_path: Path) -> None:
    taken: list[int] = []
    arrived = threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with arrived:
                taken.extend(event["sequence"] for event in json.loads(body))
                arrived.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # a client that was killed

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-c", _CHILD, f"http://127.0.0.1:{server.server_port}/", str(tmp_path)]
    try:
        for kill in range(1, KILLS + 1):
            child = subprocess.Popen(command)
            with arrived:
                assert arrived.wait_for(lambda kill=kill: len(set(taken)) >= kill * 300, 30)
            time.sleep(kill * 0.0007)  # somewhere else within a batch each time
            os.kill(child.pid, signal.SIGKILL)
            child.wait(10)
        assert subprocess.run(command, timeout=60, check=False).returncode == 0
    finally:
        server.shutdown()
        server.server_close()
    assert list(dict.fromkeys(taken)) == list(range(1, COUNT + 1)), "all of them, first seen in order"
    assert len(taken) - COUNT <= KILLS * BATCH, "a kill repeats at most the batch that was under way"
    assert json.loads((tmp_path / "audit" / "ship" / "hook.json").read_text())["sequence"] == COUNT

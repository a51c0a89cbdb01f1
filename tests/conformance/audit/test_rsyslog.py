"""A real syslog server, rsyslog, takes what is shipped: RFC 5424 by octet counting, over TCP and over TLS."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship import Shipper, sink_from

RSYSLOGD = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
GNUTLS = Path("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so")
pytestmark = pytest.mark.skipif(not Path(RSYSLOGD).exists(), reason="NOT TESTED: rsyslog is not installed")

TRAIL = "0b7f5c1e"
HOSTILE = 'a b"c\\d|e=f]g\tüñ€😀 end'


class Trail:
    trail_id = TRAIL

    def __init__(self, count: int) -> None:
        self.kept = [
            AuditRecord(
                *(n, 1_700_000_000_123_456_789 + n, 0, Category.CHANGE, "PutObject", "ok", 200, "s3", "alice"),
                *(
                    "192.0.2.3",
                    f"R{n}",
                    "ticks",
                    HOSTILE if n == 3 else f"ES/{n}",
                    "null",
                    10,
                    n,
                    {"reason": "x" * 100},
                ),
            )
            for n in range(1, count + 1)
        ]

    @property
    def last_sequence(self) -> int:
        return len(self.kept)

    def records(self, after_sequence: int, limit: int) -> Sequence[AuditRecord]:
        return self.kept[after_sequence : after_sequence + limit]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Rsyslog:
    """One server that writes each message as a line of JSON."""

    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> None:
        self.port = free_port()
        self.out = folder / "out.jsonl"
        driver = ""
        if certificate is not None:
            driver = (
                f'global(defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{certificate[0]}" '
                f'defaultNetstreamDriverCertFile="{certificate[0]}" defaultNetstreamDriverKeyFile="{certificate[1]}")\n'
            )
        mode = ' StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' if certificate else ""
        fields = ("pri", "timestamp:::date-rfc3339", "hostname", "app-name", "msgid", "structured-data", "msg")
        names = [field.partition(":")[0] for field in fields]
        said = ",".join(
            f'\\"{name}\\":\\"%{field}{":" if ":::" in field else ":::"}{",json" if ":::" in field else "json"}%\\"'
            for name, field in zip(names, fields, strict=True)
        ).replace(":,json", ",json")
        configuration = folder / "rsyslog.conf"
        configuration.write_text(
            f'{driver}global(workDirectory="{folder}" maxMessageSize="16k")\n'
            f'module(load="imtcp"{mode})\n'
            f'template(name="line" type="string" string="{{{said}}}\\n")\n'
            'ruleset(name="r") {\n'
            f'  action(type="omfile" file="{self.out}" template="line" flushInterval="1")\n}}\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}" ruleset="r")\n'
        )
        self.process = subprocess.Popen(
            [RSYSLOGD, "-n", "-f", configuration, "-i", folder / "pid"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        give_up_at = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > give_up_at:
                    self.process.kill()
                    assert self.process.stdout is not None
                    pytest.fail(f"rsyslog did not start: {self.process.stdout.read().decode()}")
                time.sleep(0.05)

    def stop(self) -> list[dict[str, str]]:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)
        return [json.loads(line) for line in self.out.read_text().split("\n")[:-1]]


def ship(trail: Trail, settings: dict[str, object], folder: Path) -> None:
    made = sink_from({"name": "real", "type": "syslog", "rewind_count": 0, "poll_interval_s": 0.05, **settings})
    shipper = Shipper(made.name, trail, made.sink, str(folder), made.options)
    shipper.start()
    give_up_at = time.monotonic() + 20
    while shipper.status().lag_count:
        assert time.monotonic() < give_up_at, shipper.status()
        time.sleep(0.02)
    assert shipper.stop()


@pytest.mark.parametrize("payload", ["cef", "json"])
@pytest.mark.parametrize("secure", [False, True])
def test_rsyslog_takes_every_message_with_all_its_parts(tmp_path: Path, payload: str, secure: bool) -> None:
    certificate = None
    settings: dict[str, object] = {"payload": payload, "hostname": "desk"}
    if secure:
        if not GNUTLS.exists() or shutil.which("openssl") is None:
            pytest.skip("NOT TESTED: rsyslog-gnutls or openssl is not installed")
        certificate = tmp_path / "s.crt", tmp_path / "s.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += [
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-out",
            str(certificate[0]),
            "-keyout",
            str(certificate[1]),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        settings["ca_file"] = str(certificate[0])
    else:
        settings["insecure"] = True
    server = Rsyslog(tmp_path, certificate)
    try:
        trail = Trail(500)
        ship(trail, {**settings, "url": f"{'tls' if secure else 'tcp'}://127.0.0.1:{server.port}"}, tmp_path)
    finally:
        messages = server.stop()
    assert len(messages) == 500
    for n, message in enumerate(messages, 1):
        assert message["pri"] == str(13 * 8 + 5)
        assert message["hostname"] == "desk"
        assert message["app-name"] == "tickvault"
        assert message["msgid"] == "PutObject"
        assert f'eventId="{TRAIL}-{n}"' in message["structured-data"]
        assert message["timestamp"] == f"2023-11-14T22:13:20.{(123_456_789 + n) // 1000}Z"
    third = messages[2]["msg"].removeprefix(" ")
    if payload == "json":
        assert json.loads(third)["key"].replace("#011", "\t") == HOSTILE
    else:
        assert third.startswith("CEF:0|TickVault|TickVault|")
        assert "ES/1 " in messages[0]["msg"]
        assert 'a b"c\\\\d|e\\=f]g\ufffdüñ€😀 end' in third

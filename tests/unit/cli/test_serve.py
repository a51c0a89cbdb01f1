"""A server as the one who starts it meets it: what it prints, whether that works, how it stops."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.cli import demo, demo_day
from tickvault.cli.announcement import Rates
from tickvault.doors.s3.supervisor import Counters

Type = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[bytes]"]


def ready(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What a server says on stdout once it answers."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1].decode()
    return json.loads(line)


def stop(process: subprocess.Popen[bytes], how: signal.Signals) -> str:
    process.send_signal(how)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr.decode()
    return stderr.decode()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_server_says_where_it_is_and_stops_cleanly(start: Start, folder: Path, how: signal.Signals) -> None:
    process = start("serve", "vault", "--port", "0", "--workers", "1", "--json")
    facts = ready(process)
    with socket.create_connection((facts["host"], facts["port"]), timeout=10):
        pass
    credentials = json.loads((folder / facts["credentials_file"]).read_text())
    assert credentials["access_key"] == facts["access_key"]
    words = stop(process, how)
    assert facts["endpoint"] in words
    assert facts["credentials_file"] in words
    assert credentials["secret_key"] not in words
    assert "stopped" in words
    assert "Traceback" not in words


def test_the_printed_examples_work(start: Start, folder: Path) -> None:
    process = start("demo", "--port", "0", "--workers", "1", "--json", "--vault", "it's a vault")
    ready(process)
    assert process.stderr is not None
    words = ""
    while "Ctrl-C" not in words:
        words += process.stderr.readline().decode()
    (python,) = re.findall(r"^import boto3.*?(?=^$)", words, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["raw_symbol"] == demo_day.SYMBOLS[0]
    (shell,) = re.findall(r"^export AWS.*?(?=^$)", words, re.MULTILINE | re.DOTALL)
    if shutil.which("aws") is not None:
        done = subprocess.run(["sh", "-ec", shell], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "definition.json" in done.stdout
    stop(process, signal.SIGINT)


def test_a_port_that_is_taken(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("serve", "vault", "--port", str(port), "--workers", "1")
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    (sentence,) = stderr.decode().splitlines()
    assert str(port) in sentence


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6_loopback(), reason="NOT TESTED: this machine has no IPv6 loopback")
@pytest.mark.parametrize("given", ["::1", "::", "[::1]"])
def test_an_ipv6_address(start: Start, given: str, folder: Path) -> None:
    """The story: the address in brackets, as the printed endpoint shows it, was refused."""
    import boto3
    import botocore.config

    process = start("serve", "vault", "--host", given, "--port", "0", "--workers", "1", "--json")
    facts = ready(process)
    host = given.strip("[]")
    assert facts["host"] == host
    assert facts["endpoint"] == f"http://[{host}]:{facts['port']}"
    reachable = f"http://[::1]:{facts['port']}"
    pair = json.loads((folder / facts["credentials_file"]).read_text())
    s3 = boto3.client(
        "s3",
        endpoint_url=reachable,
        region_name="us-east-1",
        aws_access_key_id=pair["access_key"],
        aws_secret_access_key=pair["secret_key"],
        config=botocore.config.Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    s3.create_bucket(Bucket="raw")
    s3.put_object(Bucket="raw", Key="k", Body=b"x")
    assert s3.get_object(Bucket="raw", Key="k")["Body"].read() == b"x"
    assert f'endpoint_url="{reachable}"' in stop(process, signal.SIGINT)


def test_an_address_of_another_machine(tickvault: Type) -> None:
    typed = tickvault("serve", "vault", "--host", "192.0.2.1", "--port", "0", status=2)
    assert "no address of this machine" in typed.stderr


def test_a_key_that_is_a_pipe(start: Start, folder: Path) -> None:
    """The story: a --key that was a named pipe hung the server without a word."""
    os.mkfifo(folder / "pipe")
    process = start("serve", "vault", "--cert", "pipe", "--key", "pipe")
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (
        2,
        b"tickvault: certificate pipe is a pipe or a device; name a regular file\n",
    )


@pytest.mark.parametrize(("given", "missing"), [("--cert", "--key"), ("--key", "--cert")])
def test_tls_needs_both_files(tickvault: Type, given: str, missing: str) -> None:
    assert f"{missing} is missing" in tickvault("serve", given, "server.pem", status=2).stderr


def test_the_day_is_loaded_into_an_empty_vault_once(tickvault: Type) -> None:
    first = tickvault("demo", "--no-serve", "--json").json
    assert first["objects_loaded"] == demo_day.object_count() + len(demo_day.SYMBOLS) + 1
    assert tickvault("demo", "--no-serve", "--json").json["objects_loaded"] == 0
    assert tickvault("ls", "market/XSIM/ALDER/").stdout.splitlines() == [
        "XSIM/ALDER/bbo/",
        "XSIM/ALDER/definition.json",
        "XSIM/ALDER/trades/",
    ]


def test_an_interrupted_loading_is_completed(tickvault: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_day, "minutes", interrupted)
        tickvault("demo", "--no-serve", status=130)
    assert tickvault("demo", "--no-serve", "--json").json["objects_loaded"] > 0


def test_other_peoples_data_is_left_alone(raw: Type) -> None:
    raw("put", "-", "raw/a", stdin=b"mine")
    typed = raw("demo", "--no-serve", "--json")
    assert typed.json["objects_loaded"] == 0
    assert "other objects" in typed.stderr
    assert raw("ls").stdout == "raw\n"


def test_the_name_market_does_not_make_it_ours(tickvault: Type) -> None:
    tickvault("bucket", "create", "market")
    tickvault("put", "-", "market/mine", stdin=b"mine")
    assert tickvault("demo", "--no-serve", "--json").json["objects_loaded"] == 0


def test_the_loaded_day_is_what_the_generator_makes(tickvault: Type, folder: Path) -> None:
    import numpy as np

    demo.load_if_empty("data")
    with tv.open("data") as vault:
        blob = vault.bucket("market").get("XSIM/ALDER/trades/2026-01-05/1430.npy")
        rows = np.load(io.BytesIO(bytes(blob)))
    whole = demo_day.series("ALDER", demo._SEED).columns["trades"]
    assert np.array_equal(rows, whole[:, : rows.shape[1]])


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rates_change_in_place_on_a_terminal() -> None:
    screen = Screen()
    rates = Rates(screen)
    rates(Counters(0, 0, 0, 0, 0, 0, 0, 0))
    rates(Counters(100, 70, 20, 1 << 20, 2 << 20, 10, 0, 3))
    drawn = screen.getvalue()
    assert drawn.startswith("\r\x1b[2K")
    assert "\n" not in drawn


def test_rates_say_nothing_in_a_quiet_log() -> None:
    log = io.StringIO()
    rates = Rates(log)
    for requests in (0, 1, 2):
        rates(Counters(requests, 0, 0, 0, 0, 0, 0, 0))
    assert log.getvalue() == ""


def test_the_end_counts_what_no_line_has_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rates = Rates(io.StringIO())
    for requests in (0, 1, 2):
        rates(Counters(requests, requests, 0, 0, 0, 0, 0, 0))
    rates.end()
    assert "2 requests: 2 objects read" in capsys.readouterr().err


def test_rates_are_differences_and_errors_are_counted() -> None:
    before = Counters(100, 0, 10, 0, 0, 0, 0, 1)
    now = Counters(300, 50, 30, 2 << 20, 4 << 20, 4, 1, 3)
    line = Rates.line(before, now, 2.0)
    for words in (
        "100 requests/s",
        "25 gets",
        "10 puts",
        "in 1.0 MiB/s",
        "out 2.0 MiB/s",
        "3 open",
        "4 refused, 1 failed",
    ):
        assert words in line

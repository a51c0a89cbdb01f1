import os
import socket

import pytest

from tickvault.bench.limits import LoopbackEcho, RawFile, RawProcesses
from tickvault.bench.load import LoadGenerator
from tickvault.bench.machine import describe_machine, nginx_path
from tickvault.bench.nginx import Nginx
from tickvault.bench.signing import RequestSigner


def test_raw_file_measures_reads_and_writes_and_leaves_nothing(tmp_path):
    with RawFile(str(tmp_path / "limit"), 128) as raw:
        assert len(raw.read_verified(300).latencies) == 300
        assert raw.read_verified_rate(0.01).done > 0
        written = raw.write(0.02)
        assert written.done == len(written.latencies) > 0
        batches = raw.write(0.02, batch_count=100)
        assert batches.done == 100 * len(batches.latencies)
        assert raw.write(0.01, sync=False).done > 0
        assert (tmp_path / "limit").stat().st_size == 128 * 4096
    assert os.listdir(tmp_path) == []


def test_raw_processes_run_at_the_same_time(tmp_path):
    with RawProcesses(str(tmp_path), 2, object_count=64) as writers:
        assert writers.write_synced(0.05).rate > 0
        assert writers.read_verified_rate(0.05).rate > 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_loopback_echo(tmp_path, family):
    with LoopbackEcho(family, str(tmp_path)) as echo:
        assert len(echo.run(100).latencies) == 100


def test_machine_is_described_without_naming_it(tmp_path):
    machine = describe_machine(str(tmp_path))
    assert machine["core_count"] >= 1
    assert machine["memory_bytes"] > 0
    assert socket.gethostname() not in str(machine.values()).split()


@pytest.mark.skipif(nginx_path() is None, reason="nginx is not installed")
def test_nginx_answers_the_very_requests_that_the_vault_gets(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "key").write_bytes(b"0123456789")
    with Nginx(str(tmp_path)) as nginx, LoadGenerator() as generator:
        signer = RequestSigner("key", "secret", f"127.0.0.1:{nginx.port}")
        generator.add_batch("get", [signer.render("GET", "/bucket/key")], length=10, beginnings=[b"0123"])
        generator.set_target("127.0.0.1", nginx.port)
        for connection_count in (1, 4):
            result = generator.run("get", connection_count=connection_count, count=20)
            assert result.errors == {}
            assert len(result.latencies) == 20

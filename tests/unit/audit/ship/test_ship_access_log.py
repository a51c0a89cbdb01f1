"""Access logs as objects: names that a re-send repeats, and no log of the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from syslog_reading import read_access_log
from trails import TRAIL, Trail, events_of, make, quick, ship_all, until

from tickvault.audit.ship.config import sink_from
from tickvault.audit.ship.event import event_id
from tickvault.audit.ship.s3_access_log import S3AccessLogSink, object_key
from tickvault.audit.ship.shipper import Shipper
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.audit.ship.status import State
from tickvault.errors import DiskFullError, InvalidInputError


class Bucket:
    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        self.is_full = False
        self.trail: Trail | None = None

    def put(self, key: str, body: bytes) -> None:
        if self.is_full:
            raise DiskFullError("no space is left")
        self.puts += 1
        self.objects[key] = body
        if self.trail is not None:  # the vault audits this write too
            self.trail.add(bucket=self.name, key=key, action="PutObject", door="embedded")


def host_ids(bucket: Bucket) -> list[str]:
    return [read_access_log(line)["host_id"] for b in bucket.objects.values() for line in b.decode().split("\n")[:-1]]


def test_objects_are_named_as_amazon_names_them_and_hold_every_record(tmp_path: Path) -> None:
    bucket, trail = Bucket("logs"), Trail(250)
    sink = S3AccessLogSink(bucket.put, "logs", "s3/", bucket_owner="me", region="eu-1")
    ship_all(Shipper("log", trail, sink, str(tmp_path), quick(count_max=100)), trail)
    assert host_ids(bucket) == [event_id(TRAIL, n) for n in range(1, 251)]
    # TargetPrefixYYYY-mm-DD-HH-MM-SS-UniqueString
    assert all(re.fullmatch(r"s3/2023-11-14-22-13-20-[0-9A-F]{8}\d+X\d+", key) for key in bucket.objects)
    assert len(bucket.objects) == 3
    first = read_access_log(bucket.objects[object_key("s3/", TRAIL, make(1), make(100))].decode().split("\n")[0])
    assert (first["bucket_owner"], first["source_region"], first["operation"]) == ("me", "eu-1", "REST.PUT.OBJECT")


def test_a_batch_written_again_replaces_itself() -> None:
    bucket, trail = Bucket("logs"), Trail(20)
    sink = S3AccessLogSink(bucket.put, "logs")
    sink.send(TRAIL, events_of(sink, trail))
    sink.send(TRAIL, events_of(sink, trail))
    assert (bucket.puts, len(bucket.objects)) == (2, 1)
    assert object_key("", TRAIL, make(1), make(2)) != object_key("", "other trail", make(1), make(2))


def test_the_log_does_not_log_itself_for_ever(tmp_path: Path) -> None:
    """Each object written makes a record, which would make the next object."""
    bucket, trail = Bucket("logs"), Trail(5)
    bucket.trail = trail
    shipper = Shipper("log", trail, S3AccessLogSink(bucket.put, "logs", "s3/"), str(tmp_path), quick())
    shipper.start()
    until(lambda: shipper.status().state == State.IDLE and shipper.status().lag_count == 0)
    trail.add(1)
    trail.add(1, bucket="logs", key="s3/notes.txt")  # by somebody else: this is logged
    until(lambda: shipper.status().state == State.IDLE and shipper.status().lag_count == 0)
    assert shipper.stop()
    assert bucket.puts <= 3
    logged = [read_access_log(line) for b in bucket.objects.values() for line in b.decode().split("\n")[:-1]]
    assert len(logged) == 7
    assert logged[-1]["key"] == "s3/notes.txt"


def test_only_a_successful_write_by_the_logs_own_name_is_left_out() -> None:
    sink = S3AccessLogSink(Bucket("logs").put, "logs", "s3/")
    own = object_key("s3/", TRAIL, make(1), make(2))
    assert sink.encode(TRAIL, make(3, bucket="logs", key=own)) is None
    for changes in (
        {"action": "DeleteObject"},
        {"action": "GetObject"},
        {"bucket": "other"},
        {"key": f"{own}.txt"},
        {"result": "AccessDenied", "category": 3},
    ):
        assert sink.encode(TRAIL, make(3, **{"bucket": "logs", "key": own, **changes})) is not None


def test_a_full_disk_waits(tmp_path: Path) -> None:
    bucket, trail = Bucket("logs"), Trail(5)
    bucket.is_full = True
    sink = S3AccessLogSink(bucket.put, "logs")
    with pytest.raises(SinkUnavailable, match="bucket logs: no space is left"):
        sink.send(TRAIL, events_of(sink, trail))
    shipper = Shipper("log", trail, sink, str(tmp_path), quick())
    shipper.start()
    until(lambda: shipper.status().failures_in_row > 1)
    bucket.is_full = False
    until(lambda: shipper.status().lag_count == 0)
    assert shipper.stop()
    assert host_ids(bucket) == [event_id(TRAIL, n) for n in range(1, 6)]


def test_from_settings() -> None:
    opened: list[str] = []
    bucket = Bucket("logs")

    def open_put(name: str) -> object:
        opened.append(name)
        return bucket.put

    values = {"name": "log", "type": "s3_access_log", "bucket": "logs", "prefix": "s3/"}
    assert sink_from(values, open_put).sink.kind == "s3_access_log"  # type: ignore[arg-type]
    assert opened == ["logs"]
    with pytest.raises(InvalidInputError, match="needs a vault"):
        sink_from(values)
    with pytest.raises(InvalidInputError, match="may have 900 bytes"):
        S3AccessLogSink(bucket.put, "logs", "é" * 500)

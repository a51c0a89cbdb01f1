"""Syslog over TCP and TLS: octet counting, and what is done in place of an acknowledgement."""

from __future__ import annotations

import json
import ssl
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from receivers import TcpReceiver, pair, server_tls
from syslog_reading import frames, read_cef, read_message
from trails import HOSTILE, TRAIL, Trail, events_of, make, quick, ship_all, until

from tickvault.audit.ship.config import sink_from
from tickvault.audit.ship.event import event_id
from tickvault.audit.ship.shipper import Shipper
from tickvault.audit.ship.sink import SinkUnavailable
from tickvault.audit.ship.status import State
from tickvault.audit.ship.syslog import SyslogSink
from tickvault.errors import InvalidInputError


def sink_for(receiver: TcpReceiver, **settings: Any) -> SyslogSink:
    scheme = "tcp" if receiver.tls is None else "tls"
    values = {
        "name": "s",
        "type": "syslog",
        "url": f"{scheme}://127.0.0.1:{receiver.port}",
        "insecure": scheme == "tcp",
    }
    sink = sink_from({**values, "rewind_count": 0, **settings}).sink
    assert isinstance(sink, SyslogSink)
    return sink


def received_ids(receiver: TcpReceiver) -> list[str]:
    return [read_message(m).parameters["eventId"] for data in receiver.received for m in frames(bytes(data))]


def ids(first: int, last: int) -> list[str]:
    return [event_id(TRAIL, n) for n in range(first, last + 1)]


@pytest.mark.parametrize("secure", [False, True])
def test_a_trail_arrives_whole_in_order_and_the_end_is_polite(tmp_path: Path, secure: bool) -> None:
    certificate, tls = None, None
    if secure:
        certificate, key = pair(tmp_path)
        tls = server_tls(certificate, key)
    trail = Trail(300)
    trail.kept[7] = trail.kept[7]._replace(key=HOSTILE)
    with TcpReceiver(tls) as receiver:
        sink = sink_for(receiver, **({"ca_file": certificate} if secure else {}), hostname="desk")
        ship_all(Shipper("s", trail, sink, str(tmp_path), quick(count_max=90)), trail)
        until(lambda: receiver.ended_politely == [True])
        assert received_ids(receiver) == ids(1, 300)
        messages = [read_message(m) for m in frames(bytes(receiver.received[0]))]
    assert messages[0].host == "desk"
    header, extension = read_cef(messages[7].text)
    assert header[4] == "PutObject"
    assert extension["cs6"] == event_id(TRAIL, 8)


def test_json_in_the_message(tmp_path: Path) -> None:
    with TcpReceiver() as receiver:
        sink = sink_for(receiver, payload="json")
        trail = Trail()
        trail.add(key=HOSTILE)
        sink.send(TRAIL, events_of(sink, trail))
        until(lambda: bool(receiver.received) and bool(receiver.received[0]))
        (message,) = frames(bytes(receiver.received[0]))
        assert json.loads(read_message(message).text)["key"] == HOSTILE
        sink.close()


def test_a_batch_is_not_taken_before_the_other_sides_tcp_has_it() -> None:
    """A receiver that does not read fills its buffer, and then nothing is acknowledged any more."""
    with TcpReceiver() as receiver:
        receiver.is_reading.clear()
        sink = sink_for(receiver, timeout_s=0.5)
        trail = Trail()
        trail.add(1, detail={"x": "y" * 3500})
        events = events_of(sink, trail) * 4000
        begun = time.monotonic()
        with pytest.raises(SinkUnavailable, match=r"within 0\.5 s"):
            sink.send(TRAIL, events)
        assert time.monotonic() - begun < 3


def test_a_receiver_that_went_away_is_noticed_and_the_window_is_sent_again() -> None:
    trail = Trail(40)
    with TcpReceiver() as receiver:
        sink = sink_for(receiver, rewind_count=5)
        events = events_of(sink, trail)
        sink.send(TRAIL, events[:10])
        sink.send(TRAIL, events[10:20])
        until(lambda: len(received_ids(receiver)) == 20)
        receiver.cut()
        time.sleep(0.05)
        sink.send(TRAIL, events[20:30])
        sink.send(TRAIL, events[30:])
        until(lambda: len(received_ids(receiver)) == 45)
        assert received_ids(receiver) == ids(1, 20) + ids(16, 40)
        assert len(receiver.received) == 2
        sink.close()


def test_a_receiver_that_ends_during_a_batch_does_not_count(tmp_path: Path) -> None:
    trail = Trail(3)
    with TcpReceiver() as receiver:
        sink = sink_for(receiver)
        sink.send(TRAIL, events_of(sink, trail))
        until(lambda: received_ids(receiver) == ids(1, 3))
        original = sink._wire.drain  # type: ignore[union-attr]

        def cut_after() -> None:
            original()
            receiver.cut()
            time.sleep(0.05)

        sink._wire.drain = cut_after  # type: ignore[method-assign, union-attr]
        with pytest.raises(SinkUnavailable, match="cut the connection"):
            sink.send(TRAIL, events_of(sink, trail))


def test_down_for_a_while_and_back_on_the_same_port(tmp_path: Path) -> None:
    trail = Trail(20)
    with TcpReceiver() as first:
        port = first.port
        shipper = Shipper("s", trail, sink_for(first, rewind_count=3), str(tmp_path), quick())
        shipper.start()
        until(lambda: len(received_ids(first)) == 20)
    trail.add(15)
    until(lambda: shipper.status().state == State.RETRYING)
    assert "refuses the connection" in shipper.status().last_error
    with TcpReceiver(port=port) as second:
        until(lambda: shipper.status().lag_count == 0)
        assert shipper.stop()
        until(lambda: second.ended_politely == [True])
        assert received_ids(second) == ids(18, 35)


def test_a_start_sends_the_window_again(tmp_path: Path) -> None:
    trail = Trail(20)
    with TcpReceiver() as receiver:
        for _ in range(2):
            ship_all(Shipper("s", trail, sink_for(receiver, rewind_count=4), str(tmp_path), quick()), trail)
            trail.add(2)
        until(lambda: len(receiver.ended_politely) == 2)
        assert received_ids(receiver) == ids(1, 20) + ids(17, 22)


def test_stop_is_prompt_while_the_receiver_does_not_read(tmp_path: Path) -> None:
    trail = Trail()
    trail.add(80, detail={"x": "y" * 200_000})
    with TcpReceiver() as receiver:
        receiver.is_reading.clear()
        sink = sink_for(receiver, payload="json", message_bytes_max=256 << 10)
        shipper = Shipper("s", trail, sink, str(tmp_path), quick(bytes_max=16 << 20))
        shipper.start()
        until(lambda: shipper.status().state == State.SENDING)
        time.sleep(0.2)
        begun = time.monotonic()
        assert shipper.stop()
        assert time.monotonic() - begun < 2
        assert shipper.status().acknowledged_sequence == 0


def test_tls_refuses_a_stranger_and_an_old_protocol(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    with TcpReceiver(server_tls(certificate, key)) as receiver:
        sink = sink_for(receiver)
        with pytest.raises(SinkUnavailable, match="not trusted"):
            sink.send(TRAIL, events_of(sink, Trail(1)))
    old = server_tls(certificate, key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with TcpReceiver(old) as receiver:
        sink = sink_for(receiver, ca_file=certificate)
        with pytest.raises(SinkUnavailable, match=r"TLS failed|cut the connection"):
            sink.send(TRAIL, events_of(sink, Trail(1)))


def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    tls = server_tls(certificate, key)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate)
    with TcpReceiver(tls) as receiver:
        ours = {"ca_file": certificate, "client_cert_file": certificate, "client_key_file": key}
        sink = sink_for(receiver, **ours)
        sink.send(TRAIL, events_of(sink, Trail(3)))
        until(lambda: received_ids(receiver) == ids(1, 3))
        sink.close()


def test_a_message_that_is_too_long_loses_its_detail_and_then_is_refused() -> None:
    with TcpReceiver() as receiver:
        for payload in ("cef", "json"):
            sink = sink_for(receiver, payload=payload, message_bytes_max=2048)
            said = sink.encode(TRAIL, make(1, detail={"reason": "ü" * 3000}))
            assert len(frames(said)[0]) <= 2048
            with pytest.raises(InvalidInputError, match="raise message_bytes_max"):
                sink.encode(TRAIL, make(1, key="€" * 1000))

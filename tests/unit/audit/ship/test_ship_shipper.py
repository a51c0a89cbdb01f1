"""A shipper loses nothing, keeps the order, says how it stands, and stops when told."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trails import HOSTILE, QUICK, TRAIL, Trail, make, quick, ship_all, until

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.backoff import RETRY_AFTER_MAX_S, Backoff
from tickvault.audit.ship.batching import BatchLimits, next_batch
from tickvault.audit.ship.dead_letters import DeadLetters
from tickvault.audit.ship.event import Event, event_id
from tickvault.audit.ship.shipper import FOLDER, Shipper
from tickvault.audit.ship.sink import BatchRefused, SinkRejected, SinkUnavailable
from tickvault.audit.ship.status import State
from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.seam.host import LinuxHost


class ScriptedSink:
    """Keeps what it acknowledges; `script` may raise before that."""

    kind = "scripted"
    rewind_count = 0

    def __init__(self, script: Callable[[int, list[int]], None] | None = None) -> None:
        self.script = script
        self.calls: list[list[int]] = []
        self.taken: list[str] = []
        self.closed = 0
        self.interrupted = threading.Event()

    def encode(self, trail_id: str, record: AuditRecord) -> bytes | None:
        if record.action == "Unsayable":
            raise InvalidInputError("this cannot be said")
        return None if record.action == "LeftOut" else b"x" * max(1, record.size_bytes)

    def send(self, trail_id: str, events: Sequence[Event]) -> None:
        assert trail_id == TRAIL
        sequences = [event.record.sequence for event in events]
        self.calls.append(sequences)
        try:
            if self.script is not None:
                self.script(len(self.calls), sequences)
        except SinkRejected as error:
            self.taken += [e.event_id for e in events if e.record.sequence not in error.rejections]
            raise
        self.taken += [event.event_id for event in events]

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed += 1


def ids(sequences: Sequence[int] | range) -> list[str]:
    return [event_id(TRAIL, n) for n in sequences]


def letters(folder: Path, name: str = "siem") -> list[dict[str, Any]]:
    path = folder / FOLDER / f"{name}.dead.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_everything_goes_out_once_in_order_and_so_does_what_comes_later(tmp_path: Path) -> None:
    trail, sink = Trail(1234), ScriptedSink()
    shipper = Shipper("siem", trail, sink, str(tmp_path), quick(count_max=100))
    assert shipper.status().state == State.NEW
    shipper.start()
    until(lambda: shipper.status().state == State.IDLE)
    for _ in range(20):
        trail.add(3)
        shipper.wake()
    until(lambda: shipper.status().lag_count == 0 and shipper.status().state == State.IDLE)
    status = shipper.status()
    assert (status.acknowledged_sequence, status.sent_count, status.last_error) == (1294, 1294, "")
    assert status.last_success_ns > 0
    assert status.dead_letter_count == 0
    assert shipper.stop()
    assert shipper.status().state == State.STOPPED
    assert sink.taken == ids(range(1, 1295))
    assert max(map(len, sink.calls)) == 100
    assert trail.read_count_max <= 100
    assert sink.closed == 1
    with pytest.raises(InvalidInputError, match="started already"):
        shipper.start()


def test_it_goes_on_where_another_one_stopped(tmp_path: Path) -> None:
    trail = Trail(50)
    first, second = ScriptedSink(), ScriptedSink()
    ship_all(Shipper("siem", trail, first, str(tmp_path), QUICK), trail)
    trail.add(5)
    ship_all(Shipper("siem", trail, second, str(tmp_path), QUICK), trail)
    assert second.taken == ids(range(51, 56))
    other = ScriptedSink()
    ship_all(Shipper("other", trail, other, str(tmp_path), QUICK), trail)
    assert other.taken == ids(range(1, 56)), "each sink has a cursor of its own"


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_whatever_fails_nothing_is_lost_and_the_order_is_kept(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count_max: int
) -> None:
    """Failures before and after the receiver took a batch, by a seed; a record comes again only after a failure."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("ship")
    trail = Trail(40)
    took: list[int] = []
    failures = 0

    def script(_: int, sequences: list[int]) -> None:
        nonlocal failures
        draw = chance.random()
        if draw < 0.2:
            failures += 1
            raise SinkUnavailable("away")
        if draw < 0.4:  # it took part of the batch, or all of it, and the answer was lost
            failures += 1
            took.extend(sequences[: chance.randint(1, len(sequences))])
            raise ConnectionResetError("cut")
        took.extend(sequences)

    options = quick(count_max=count_max, backoff=Backoff(0.0001, 0.001))
    ship_all(Shipper("siem", trail, ScriptedSink(script), str(folder), options), trail)
    first_seen = list(dict.fromkeys(took))
    assert first_seen == list(range(1, 41))
    assert len(took) - 40 <= failures * count_max
    if not failures:
        assert took == first_seen


def test_a_receiver_that_is_down_is_told_with_the_reason_and_the_next_attempt(tmp_path: Path) -> None:
    trail, is_up = Trail(10), threading.Event()

    def script(_: int, __: list[int]) -> None:
        if not is_up.is_set():
            raise SinkUnavailable("the receiver is down: start it")

    sink = ScriptedSink(script)
    shipper = Shipper("siem", trail, sink, str(tmp_path), QUICK)
    shipper.start()
    until(lambda: shipper.status().failures_in_row >= 5)
    status = shipper.status()
    assert status.state == State.RETRYING
    assert status.last_error == "the receiver is down: start it"
    assert status.next_attempt_ns >= status.last_error_ns > 0
    assert (status.lag_count, status.acknowledged_sequence, status.last_success_ns) == (10, 0, 0)
    trail.add(90)
    is_up.set()
    until(lambda: shipper.status().lag_count == 0)
    until(lambda: shipper.status().state == State.IDLE)
    assert shipper.status().failures_in_row == 0
    assert shipper.status().next_attempt_ns == 0
    assert shipper.stop()
    assert sink.taken == ids(range(1, 101))


def test_stop_is_prompt_while_it_waits_for_a_next_attempt_and_while_it_sends(tmp_path: Path) -> None:
    def away(_: int, __: list[int]) -> None:
        raise SinkUnavailable("away", retry_after_s=3000)

    shipper = Shipper("a", Trail(1), ScriptedSink(away), str(tmp_path), QUICK)
    shipper.start()
    until(lambda: shipper.status().state == State.RETRYING)
    assert shipper.status().next_attempt_ns > time.time_ns() + 2000 * 10**9, "the receiver's wish is kept"
    begun = time.monotonic()
    assert shipper.stop()
    assert time.monotonic() - begun < 1

    sink = ScriptedSink()

    def hang(_: int, __: list[int]) -> None:
        assert sink.interrupted.wait(20)
        raise SinkUnavailable("cut off")

    sink.script = hang
    shipper = Shipper("b", Trail(1), sink, str(tmp_path), QUICK)
    shipper.start()
    until(lambda: bool(sink.calls))
    begun = time.monotonic()
    assert shipper.stop()
    assert time.monotonic() - begun < 1
    assert shipper.status().acknowledged_sequence == 0


def test_one_refused_event_is_found_by_sending_less_and_is_a_dead_letter(tmp_path: Path) -> None:
    trail = Trail(200)
    trail.kept[122] = trail.kept[122]._replace(key=HOSTILE, identity="\udc80")

    def script(_: int, sequences: list[int]) -> None:
        if 123 in sequences:
            raise BatchRefused("an event is malformed")

    sink = ScriptedSink(script)
    shipper = Shipper("siem", trail, sink, str(tmp_path), quick(count_max=64))
    ship_all(shipper, trail)
    assert sink.taken == ids([n for n in range(1, 201) if n != 123]), "every other one, once, in order"
    (letter,) = letters(tmp_path)
    assert letter["event_id"] == event_id(TRAIL, 123)
    assert letter["reason"] == "an event is malformed"
    assert letter["record"]["key"] == HOSTILE
    assert letter["record"]["identity"] == "\ufffd"
    status = shipper.status()
    assert (status.dead_letter_count, status.sent_count) == (1, 199)
    assert "record 123: an event is malformed" in status.last_error
    assert len(sink.calls) < 25


@pytest.mark.parametrize("counted_from", [0, 1])
@pytest.mark.parametrize("bad", [1, 2, 7, 50])
def test_the_receivers_hint_is_only_a_hint(tmp_path: Path, bad: int, counted_from: int) -> None:
    """Splunk counts the bad event from 0 in some answers and from 1 in others: neither buries a good one."""
    trail = Trail(50)

    def script(_: int, sequences: list[int]) -> None:
        if bad in sequences:
            raise BatchRefused("no", good_count=sequences.index(bad) + counted_from)

    sink = ScriptedSink(script)
    ship_all(Shipper("siem", trail, sink, str(tmp_path), QUICK), trail)
    assert sink.taken == ids([n for n in range(1, 51) if n != bad])
    assert [letter["record"]["sequence"] for letter in letters(tmp_path)] == [bad]
    assert len(sink.calls) <= 12


def test_events_rejected_by_name_are_dead_letters_and_the_others_are_not_sent_again(tmp_path: Path) -> None:
    trail = Trail(30)

    def script(_: int, sequences: list[int]) -> None:
        bad = {n: f"mapping of {n}" for n in sequences if n % 10 == 0}
        if bad:
            raise SinkRejected(bad)

    sink = ScriptedSink(script)
    shipper = Shipper("siem", trail, sink, str(tmp_path), quick(count_max=15))
    ship_all(shipper, trail)
    assert sink.taken == ids([n for n in range(1, 31) if n % 10])
    assert [letter["reason"] for letter in letters(tmp_path)] == ["mapping of 10", "mapping of 20", "mapping of 30"]
    assert shipper.status().dead_letter_count == 3
    again = Shipper("siem", trail, ScriptedSink(), str(tmp_path), QUICK)
    ship_all(again, trail)
    assert again.status().dead_letter_count == 3


def test_a_receiver_that_rejects_everything_buries_only_so_many(tmp_path: Path) -> None:
    """An index that does not exist rejects every record: that is no fault of the records."""
    trail, is_mended = Trail(500), threading.Event()

    def script(_: int, sequences: list[int]) -> None:
        if not is_mended.is_set():
            raise BatchRefused("no such index")

    sink = ScriptedSink(script)
    options = quick(dead_letters_in_row_max=7, backoff=Backoff(0.0005, 0.001))
    shipper = Shipper("siem", trail, sink, str(tmp_path), options)
    shipper.start()
    until(lambda: shipper.status().state == State.RETRYING)
    assert "looks like wrong settings" in shipper.status().last_error
    assert len(letters(tmp_path)) == shipper.status().dead_letter_count == 7
    is_mended.set()
    until(lambda: shipper.status().lag_count == 0)
    assert shipper.stop()
    assert sink.taken == ids(range(8, 501))


def test_what_cannot_be_said_or_is_too_large_is_dead_and_what_is_left_out_is_passed(tmp_path: Path) -> None:
    trail = Trail(12)
    trail.kept[2] = trail.kept[2]._replace(action="Unsayable")
    trail.kept[4] = trail.kept[4]._replace(size_bytes=100_000)
    trail.kept[6] = trail.kept[6]._replace(action="LeftOut")
    trail.kept[11] = trail.kept[11]._replace(category=Category.READ)
    sink = ScriptedSink()
    options = quick(event_bytes_max=50_000, categories=frozenset({Category.CHANGE}))
    ship_all(Shipper("siem", trail, sink, str(tmp_path), options), trail)
    assert sink.taken == ids([1, 2, 4, 6, 8, 9, 10, 11])
    reasons = {letter["record"]["sequence"]: letter["reason"] for letter in letters(tmp_path)}
    assert "this cannot be said" in reasons[3]
    assert "100000 bytes" in reasons[5]
    assert len(reasons) == 2


def test_batches_are_bounded_in_bytes_and_nothing_is_skipped_at_the_seam() -> None:
    trail, sink = Trail(), ScriptedSink()
    chance = random.Random(1)
    for _ in range(300):
        trail.add(size_bytes=chance.randint(1, 2000))
    after, seen = 0, []
    while after < 300:
        batch = next_batch(trail, sink, after, BatchLimits(50, 5000, 4000), None)
        assert sum(len(event.payload) for event in batch.events) <= 5000
        assert 1 <= len(batch.events) <= 50
        seen += [event.record.sequence for event in batch.events]
        assert batch.through == seen[-1]
        after = batch.through
    assert seen == list(range(1, 301))


def test_a_long_stretch_that_is_left_out_moves_the_cursor_without_a_send(tmp_path: Path) -> None:
    trail, sink = Trail(), ScriptedSink()
    record = make(1, category=Category.READ)
    trail.kept = [record._replace(sequence=n) for n in range(1, 25_001)]
    trail.add()
    options = quick(categories=frozenset({Category.CHANGE}))
    ship_all(Shipper("siem", trail, sink, str(tmp_path), options), trail)
    assert sink.taken == ids([25_001])
    assert trail.read_count_max <= 500, "memory is bounded"


def test_a_gap_in_the_trail_stops_it_and_is_told(tmp_path: Path) -> None:
    trail, sink = Trail(10), ScriptedSink()
    lost = trail.kept[5]
    trail.kept[5] = trail.kept[6]
    shipper = Shipper("siem", trail, sink, str(tmp_path), quick(count_max=5))
    shipper.start()
    until(lambda: shipper.status().state == State.HALTED)
    assert "record 7 where 6 must follow" in shipper.status().last_error
    assert sink.taken == ids(range(1, 6))
    trail.kept[5] = lost
    until(lambda: shipper.status().lag_count == 0)
    assert shipper.stop()
    assert sink.taken == ids(range(1, 11))


def test_a_source_that_gives_too_much_is_not_believed() -> None:
    class Generous(Trail):
        def records(self, after_sequence: int, limit: int) -> Sequence[AuditRecord]:
            return super().records(after_sequence, limit + 1)

    with pytest.raises(IntegrityError, match="at most 5"):
        next_batch(Generous(20), ScriptedSink(), 0, BatchLimits(5), None)


def test_a_cursor_that_does_not_fit_halts_until_a_person_mends_it(tmp_path: Path) -> None:
    ship_all(Shipper("siem", Trail(9), ScriptedSink(), str(tmp_path), QUICK), Trail(9))
    sink = ScriptedSink()
    shipper = Shipper("siem", Trail(4), sink, str(tmp_path), QUICK)
    shipper.start()
    until(lambda: shipper.status().state == State.HALTED)
    assert "the trail ends at 4" in shipper.status().last_error
    assert sink.calls == []
    (tmp_path / FOLDER / "siem.json").unlink()
    until(lambda: shipper.status().lag_count == 0)
    assert shipper.stop()
    assert sink.taken == ids(range(1, 5))


def test_one_ships_and_the_other_stands_by_and_takes_over(tmp_path: Path) -> None:
    trail, first, second = Trail(5), ScriptedSink(), ScriptedSink()
    one = Shipper("siem", trail, first, str(tmp_path), QUICK)
    two = Shipper("siem", trail, second, str(tmp_path), QUICK)
    one.start()
    until(lambda: one.status().state == State.IDLE)
    two.start()
    until(lambda: two.status().state == State.STANDBY)
    assert two.status().acknowledged_sequence == 5
    assert one.stop()
    trail.add(5)
    until(lambda: two.status().lag_count == 0)
    assert two.stop()
    assert (first.taken, second.taken) == (ids(range(1, 6)), ids(range(6, 11)))


def test_a_sink_without_acknowledgements_is_rewound_at_the_start(tmp_path: Path) -> None:
    trail = Trail(20)
    ship_all(Shipper("siem", trail, ScriptedSink(), str(tmp_path), QUICK), trail)
    trail.add(1)
    sink = ScriptedSink()
    sink.rewind_count = 6
    ship_all(Shipper("siem", trail, sink, str(tmp_path), QUICK), trail)
    assert sink.taken == ids(range(15, 22))


def test_dead_letters_survive_a_torn_line_and_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "siem.dead.jsonl"
    box = DeadLetters(str(path), size_bytes_max=4000)
    box.add(TRAIL, [(make(1), "why")], 1)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])  # a crash while it was written
    box.add(TRAIL, [(make(2), "x" * 10_000)], 1)
    lines = path.read_bytes().split(b"\n")
    assert json.loads(lines[0])["record"]["sequence"] == 1
    assert json.loads(lines[2])["reason"] == "x" * 2000
    with pytest.raises(SinkUnavailable, match="move the file away"):
        box.add(TRAIL, [(make(3), "y")], 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_waits_double_up_to_the_cap_with_jitter_and_keep_the_receivers_wish() -> None:
    class Chance(LinuxHost):
        value = 1

        def random_u64(self) -> int:
            return self.value

    host, backoff = Chance(), Backoff(0.5, 60)
    low = [backoff.wait_s(n, host) for n in (1, 2, 3, 8, 9, 1000, 10**6)]
    assert low == pytest.approx([0.25, 0.5, 1, 30, 30, 30, 30])
    host.value = 2**64 - 1
    assert [backoff.wait_s(n, host) for n in (1, 2, 8, 50)] == pytest.approx([0.5, 1, 60, 60])
    assert backoff.wait_s(1, host, 120) == 120
    assert backoff.wait_s(8, host, 1) == pytest.approx(60)
    assert backoff.wait_s(1, host, 10**9) == RETRY_AFTER_MAX_S


def test_a_writer_never_waits_for_a_receiver_that_hangs(tmp_path: Path) -> None:
    sink = ScriptedSink()

    def hang(_: int, __: list[int]) -> None:
        sink.interrupted.wait(20)
        raise SinkUnavailable("cut off")

    sink.script = hang
    trail = Trail(1)
    shipper = Shipper("siem", trail, sink, str(tmp_path), QUICK)
    shipper.start()
    until(lambda: bool(sink.calls))
    longest = 0.0
    for _ in range(1000):
        begun = time.monotonic()
        trail.add()
        shipper.wake()
        longest = max(longest, time.monotonic() - begun)
    assert longest < 1, "the receiver hangs for 20 seconds"
    assert shipper.status().lag_count == 1001
    assert shipper.stop()

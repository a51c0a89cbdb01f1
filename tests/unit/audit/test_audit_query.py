from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from audit_made import T0, opened, record
from hypothesis import given
from hypothesis import strategies as st

from tickvault.audit.chain import BrokenBlockError, Walk
from tickvault.audit.files import file_name
from tickvault.audit.pattern import PATTERN_SIZE_MAX, Pattern
from tickvault.audit.query import query
from tickvault.audit.record import AuditRecord, Category
from tickvault.errors import InvalidInputError
from tickvault.seam.disk import OsDisk


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[AuditRecord]]:
    folder = tmp_path_factory.mktemp("queried")
    rng = random.Random(4)
    every = []
    with opened(folder, file_size_max=20_000) as writer:
        for block in range(40):
            records = [
                record(
                    block * 1000 + rng.randrange(2000),
                    action=rng.choice(("GetObject", "PutObject", "DeleteObject")),
                    result=rng.choice(("ok", "ok", "AccessDenied")),
                    identity=rng.choice(("alice", "bob", "arn:aws:iam::000000000000:role/desk/x")),
                    bucket=rng.choice(("market", "models")),
                    key=rng.choice(("a", "ticks/é", "ticks/b/c", "models/m1")),
                    category=rng.choice(list(Category)),
                )
                for _ in range(rng.randrange(1, 12))
            ]
            head = writer.append(records)
            first = head.sequence - len(records) + 1
            every += [made._replace(sequence=first + place) for place, made in enumerate(records)]
    # The first record is the trail's own; its content has a test elsewhere.
    return str(folder), [next(query(str(folder))), *every]


CASES = [
    ({}, lambda r: True),
    ({"action": "GetObject"}, lambda r: r.action == "GetObject"),
    ({"action": "*Object"}, lambda r: r.action.endswith("Object")),
    ({"action": "De*t*"}, lambda r: r.action == "DeleteObject"),
    ({"action": "object"}, lambda r: False),
    ({"result": "AccessDenied", "bucket": "models"}, lambda r: r.result != "ok" and r.bucket == "models"),
    ({"identity": "arn:*:role/*"}, lambda r: ":role/" in r.identity),
    ({"key": "ticks/*"}, lambda r: r.key.startswith("ticks/")),
    ({"key_prefix": "ticks/"}, lambda r: r.key.startswith("ticks/")),
    ({"key_prefix": "ticks/*"}, lambda r: False),
    ({"key_prefix": "ticks/é"}, lambda r: r.key == "ticks/é"),
    ({"category": Category.REFUSAL}, lambda r: r.category == 3),
    ({"since_ns": T0 + 5000}, lambda r: r.time_ns >= T0 + 5000),
    ({"until_ns": T0 + 5000}, lambda r: r.time_ns < T0 + 5000),
    ({"since_ns": T0 + 5000, "until_ns": T0 + 5001}, lambda r: r.time_ns == T0 + 5000),
    ({"sequence_from": 100}, lambda r: r.sequence >= 100),
    ({"sequence_from": 10**9}, lambda r: False),
]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [None, 0, 3])
@pytest.mark.parametrize(("asked", "fits"), CASES)
def test_a_query_finds_what_a_plain_loop_finds(trail, asked, fits, limit, newest_first) -> None:
    folder, every = trail
    found = list(query(folder, limit=limit, newest_first=newest_first, **asked))
    expected = [one for one in every if fits(one)]
    if newest_first:
        expected.reverse()
    if limit is not None:
        expected = expected[:limit]
    assert found == expected


def test_blocks_outside_the_time_are_not_read(trail, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, every = trail
    read: list[int] = []
    import tickvault.audit.query as module

    original = module.read_block

    def noting(disk, folder, block):
        read.append(block.header.number)
        return original(disk, folder, block)

    monkeypatch.setattr(module, "read_block", noting)
    since = sorted(one.time_ns for one in every)[-5]
    assert len(list(query(folder, since_ns=since))) == 5
    assert 0 < len(read) <= 5


def test_a_damaged_block_is_no_answer(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        for number in range(5):
            writer.append([record(number)])
    block = list(Walk(OsDisk(), str(tmp_path)))[3]
    with (tmp_path / file_name(1)).open("r+b") as file:
        file.seek(block.offset + 250)
        file.write(b"\xee")
    found = query(str(tmp_path))
    assert [next(found).sequence for _ in range(3)] == [1, 2, 3]
    with pytest.raises(BrokenBlockError, match="block 4"):
        next(found)


def test_wrong_arguments() -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        query("x", limit=-1)
    with pytest.raises(InvalidInputError, match="since"):
        query("x", since_ns=5, until_ns=4)
    with pytest.raises(InvalidInputError, match="pattern"):
        query("x", key="a" * (PATTERN_SIZE_MAX + 1))


@given(st.text("ab*.", max_size=12), st.text("ab.", max_size=12))
def test_patterns_against_regular_expressions(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
    assert Pattern(pattern).matches(text) == expected


def test_many_stars_take_no_time() -> None:
    started = time.monotonic()
    assert not Pattern("*a" * 1000 + "b").matches("a" * 1024)
    assert time.monotonic() - started < 1

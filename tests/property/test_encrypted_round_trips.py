"""Whatever is written, in whatever pieces and under whatever key, is read back, whole and by ranges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickvault as tv
from tickvault.engine.engine import EngineOptions
from tickvault.objects.bucket import Bucket

FRAME = 65_520
MIB = 1 << 20
BIG = np.random.default_rng(5).bytes(8 * MIB)
KEYS = (None, bytes(32), bytes(range(32)))

#: Near the borders of frames and of what rides in the commit, and anywhere.
sizes = st.one_of(
    st.integers(0, 5000),
    st.builds(lambda frames, off: max(0, frames * FRAME + off), st.integers(0, 6), st.integers(-2, 2)),
    st.builds(lambda off: 256 * 1024 + off, st.integers(-2, 2)),
    st.integers(0, 2 * MIB),
)
bodies = st.builds(lambda at, size: BIG[at : at + size], st.integers(0, 4 * MIB), sizes)
ranges = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=4)
suites = st.sampled_from(["aes-256-gcm", "sm4-gcm"])


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tv.Vault]:
    folder: Path = tmp_path_factory.mktemp("round")
    options = EngineOptions(segment_size_first=4 * MIB, segment_size_max=8 * MIB, body_segment_size_max=16 * MIB)
    with tv.open(folder / "v", options=options) as opened:
        opened.create_bucket("sealed", encryption="aes-256-gcm", versioning=True, durability="relaxed")
        yield opened


def check(
    bucket: Bucket, key: str, version_id: str, body: bytes, wanted: list[tuple[float, float]], brought: bytes | None
) -> None:
    reader = bucket.read(key, version_id=version_id, customer_key=brought)
    assert bytes(reader.bytes()) == body
    assert b"".join(reader.chunks(chunk_size=100_000)) == body
    assert reader.info.size == len(body)
    for low, high in wanted:
        start, end = sorted((int(low * len(body)), int(high * len(body))))
        found = bucket.get(key, start=start, end=end, version_id=version_id, customer_key=brought)
        assert bytes(found) == b"".join(reader.chunks(start, end)) == body[start:end]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=bodies, wanted=ranges, suite=suites, brought=st.sampled_from(KEYS), cuts=st.lists(sizes, max_size=6))
def test_a_body_comes_back(
    vault: tv.Vault, body: bytes, wanted: list[tuple[float, float]], suite: str, brought: bytes | None, cuts: list[int]
) -> None:
    bucket = vault["sealed"]
    asked = {"suite": suite} if brought is None else {"suite": suite, "customer_key": brought}
    info = bucket.put("k", body, encryption=asked)
    check(bucket, "k", info.version_id, body, wanted, brought)
    with bucket.open_writer("k", encryption=asked) as writer:
        at = 0
        for cut in cuts:
            writer.write(body[at : at + cut])
            at += cut
        writer.write(body[at:])
        streamed = writer.commit()
    check(bucket, "k", streamed.version_id, body, wanted, brought)
    assert (streamed.etag == info.etag) is (brought is None)
    assert bytes(bucket.get("k", version_id=info.version_id, customer_key=brought)) == body


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=st.dictionaries(st.integers(1, 10_000), bodies, min_size=1, max_size=2),
    wanted=ranges,
    suite=suites,
    brought=st.sampled_from(KEYS),
)
def test_parts_come_back_strung_together(
    vault: tv.Vault, parts: dict[int, bytes], wanted: list[tuple[float, float]], suite: str, brought: bytes | None
) -> None:
    bucket = vault["sealed"]
    numbers = sorted(parts)
    whole = {number: (BIG[: 5 * MIB] + parts[number] if number != numbers[-1] else parts[number]) for number in numbers}
    asked = {"suite": suite} if brought is None else {"suite": suite, "customer_key": brought}
    upload = bucket.create_upload("mp", encryption=asked)
    etags = [
        (number, bucket.put_part("mp", upload.upload_id, number, whole[number], customer_key=brought).etag)
        for number in numbers
    ]
    info = bucket.complete_upload("mp", upload.upload_id, etags)
    check(bucket, "mp", info.version_id, b"".join(whole[number] for number in numbers), wanted, brought)

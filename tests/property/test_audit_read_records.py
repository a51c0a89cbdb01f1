"""The fast way to write a read's record gives what the careful way gives, or leaves it to that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickvault.audit.codec import NO_DETAIL, decode, encode, encode_detail, encode_read
from tickvault.audit.record import AuditRecord, Category

TEXT = st.one_of(st.text("abz09-/._:", max_size=40), st.text(max_size=20), st.text("a", min_size=500, max_size=600))


@given(
    time_ns=st.integers(0, 2**62),
    status=st.integers(100, 399),
    size=st.integers(0, 2**40),
    texts=st.lists(TEXT, min_size=8, max_size=8),
    agent=st.one_of(st.none(), TEXT),
)
def test_a_read_is_written_alike(time_ns: int, status: int, size: int, texts: list[str], agent: str | None) -> None:
    action, door, identity, source, request_id, bucket, key, version_id = texts
    given_detail = {} if agent is None else {"user_agent": agent}
    detail = NO_DETAIL if agent is None else encode_detail(given_detail)
    if detail is None:
        return
    found = encode_read(
        time_ns, 5, status, size, action, door, identity, source, request_id, bucket, key, version_id, detail
    )
    if found is None:
        assert not all(text.isascii() for text in texts) or sum(map(len, texts)) > 100
        return
    record = AuditRecord(
        0, time_ns, 5, Category.READ, action, "ok", status, door, identity, source, request_id, bucket, key, version_id,
        size, 0, given_detail,
    )  # fmt: skip
    assert found == encode(record)
    assert decode(found, 0) == record

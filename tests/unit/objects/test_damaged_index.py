"""An index entry that is not what was written is an error that names the object; nothing of it is handed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest

import tickvault as tv
from tickvault.engine.index import KEY_TAIL, Tail, long_key
from tickvault.objects.entries import ENTRY, object_key

#: Offsets in an entry: flags, parts, sequence, time, size, MD5, segment, offset, length, body offset, checksum.
FIELDS = [4, 6, 8, 16, 24, 32, 48, 55, 60, 64, 68]
LONG = "l" * 700


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[tv.Vault]:
    with tv.open(tmp_path / "data") as vault:
        vault.create_bucket("raw").put_many((f"k{number:02d}", b"body %d" % number) for number in range(40))
        yield vault


def change(vault: tv.Vault, key: bytes, damage: Callable[[bytes], bytes]) -> None:
    environment = vault.store.engine.index.recent
    with environment.begin(write=True) as txn:
        txn.put(key, damage(txn.get(key)))


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]


@pytest.mark.parametrize("at", FIELDS)
def test_no_field_of_a_damaged_entry_is_handed_out(vault: tv.Vault, at: int) -> None:
    """Story: one byte of the MD5 in the index flipped, and HEAD and GET answered 200 with a wrong ETag; one of the
    offset, and the error said that a sound segment was cut off."""
    raw = vault["raw"]
    change(vault, object_key(raw.bucket_id, b"k07"), lambda value: flipped(value, at))
    for call in (
        lambda: raw.head("k07"),
        lambda: raw.read("k07"),
        lambda: raw.get("k07").info,
        lambda: raw.get_many(["k07"])[0].info,
        lambda: raw.get_many([f"k{number:02d}" for number in range(40)])[7].info,
        lambda: list(raw.list()),
        lambda: list(raw.list(delimiter="7")),
        lambda: raw.copy("k07", "elsewhere"),
        lambda: raw.put("k07", b"", if_match="*"),
    ):
        with pytest.raises(tv.IntegrityError, match="'k07'") as raised:
            call()
        assert "cut off" not in str(raised.value)
    assert raw.get("k08") == b"body 8"
    assert vault.verify().healed == 1
    assert raw.head("k07").size == 6


def test_a_listing_does_not_end_early_at_a_damaged_key(tmp_path: Path) -> None:
    """Story: a flipped byte of a key in the index's pages made it sort behind all others, and a listing that met it
    ended there, without an error."""
    with tv.open(tmp_path) as vault:
        vault.create_bucket("raw").put_many((f"key-{number:04d}", b"x") for number in range(500))
    path = tmp_path / "index" / "data.mdb"
    data = path.read_bytes()
    needle = b"O\0\0\0\x01key-0250"
    for byte, new in ((0, b"o"), (4, b"\x02"), (4, b"\0"), (5, b"~"), (9, b"~"), (0, b"C")):
        damaged = bytearray(data)
        at = data.find(needle)
        while at >= 0:
            damaged[at + byte] = new[0]
            at = data.find(needle, at + 1)
        with path.open("r+b") as file:
            file.write(damaged)
        with tv.open(tmp_path) as vault:
            with pytest.raises(tv.IntegrityError):
                list(vault["raw"].list())
        with path.open("r+b") as file:
            file.write(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw + b"\0",
        lambda raw: raw[:-1],
        lambda raw: b"\xc1" + raw[1:],
        lambda raw: msgpack.packb(7),
        lambda raw: msgpack.packb([[b"", b""]]),
        lambda raw: msgpack.packb([["text", b"x"]]),
        lambda raw: msgpack.packb(list(reversed(msgpack.unpackb(raw)))),
    ],
)
def test_a_damaged_entry_of_long_keys_is_an_integrity_error(vault: tv.Vault, damage: Callable[[bytes], bytes]) -> None:
    """Story: msgpack.ExtraData, ValueError and UnicodeDecodeError came out of get, list and get_many."""
    raw = vault["raw"]
    raw.put_many((LONG + str(number), b"long") for number in range(3))
    change(vault, long_key(object_key(raw.bucket_id, LONG.encode())), damage)
    for call in (
        lambda: raw.get(LONG + "1"),
        lambda: raw.get_many([LONG + "1"]),
        lambda: list(raw.list()),
        lambda: raw.put(LONG + "1", b""),
    ):
        with pytest.raises(tv.IntegrityError):
            call()


def test_two_levels_that_do_not_fit_are_damage_and_not_a_busy_vault(vault: tv.Vault) -> None:
    """Story: a damaged checkpoint entry gave BusyError, "no consistent view of the index in 1000 tries"."""
    change(vault, KEY_TAIL, lambda value: Tail.unpack(value)._replace(base=1 << 60).pack())
    with pytest.raises(tv.IntegrityError, match="rebuild-index"):
        vault["raw"].list_page()


def test_batches_say_what_they_take(vault: tv.Vault) -> None:
    """Story: get_many of a generator was a TypeError and of a str a list of letters; put_many of a dict failed without
    words, and called both of two items with one key the latest."""
    raw = vault["raw"]
    assert [bytes(blob) for blob in raw.get_many(f"k{number:02d}" for number in range(2))] == [b"body 0", b"body 1"]
    assert len(raw.get_many({f"k{number:02d}": 1 for number in range(20)})) == 20
    with pytest.raises(tv.InvalidInputError, match="several keys"):
        raw.get_many("k01")
    with pytest.raises(tv.InvalidInputError, match=r"pairs .*\.items\(\)"):
        raw.put_many({"a": b"1"})  # type: ignore[arg-type]
    with pytest.raises(tv.InvalidInputError, match="a tuple of 3"):
        raw.put_many([("a", b"1", {})])  # type: ignore[list-item]
    with pytest.raises(tv.InvalidInputError, match="a NoneType"):
        raw.put_many([None])  # type: ignore[list-item]
    made = raw.put_many([("twice", b"1"), ("once", b""), ("twice", b"2")])
    assert [info.is_latest for info in made] == [False, True, True]
    assert raw.get("twice") == b"2"


def test_the_size_of_an_entry_is_what_the_offsets_here_assume() -> None:
    assert ENTRY.size == 72

"""Bundles, and the verifier that goes with them: run as an auditor runs it, by a Python that has nothing installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_made import OTHER_SIGNER, SIGNER, T0, opened, record
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

import tickvault.audit
from tickvault.audit import parquet
from tickvault.audit.block import FLAG_KEYS, pack_body
from tickvault.audit.chain import BrokenBlockError, Walk
from tickvault.audit.codec import encode
from tickvault.audit.export import export
from tickvault.audit.files import file_name
from tickvault.audit.jsonl import as_mapping, time_text
from tickvault.audit.keys import key_record
from tickvault.audit.query import query
from tickvault.audit.signing import Ed25519Signer
from tickvault.audit.verify import verify
from tickvault.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from tickvault.seam.disk import OsDisk

SHIPPED = Path(tickvault.audit.__file__).parent / "standalone" / "verify_bundle.py"


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("shipped_verifier", SHIPPED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERIFIER = _loaded()


def made(folder: Path, hash_algorithm: str = "sha-256") -> str:
    """Ten blocks over several files, with a rotation, a timestamp and odd texts; `T0 + 0` to `T0 + 39`."""
    with opened(folder, file_size_max=3000, hash_algorithm=hash_algorithm) as writer:
        for block in range(10):
            writer.append([record(block * 4 + place, key=f"k{place}/é\udc80\n") for place in range(4)])
            if block == 4:
                writer.append_timestamp(b"a token")
            if block == 6:
                writer.rotate(OTHER_SIGNER)
    return str(folder)


def run(bundle: Path, *options: str, python: str = sys.executable) -> tuple[int, str]:
    done = subprocess.run(
        [python, "-I", "-S", str(bundle / "verify.py"), *options], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def bundle(trail: str, tmp_path: Path) -> Path:
    export(trail, str(tmp_path / "bundle"))
    return tmp_path / "bundle"


def test_a_bundle_holds_and_passes(trail: str, bundle: Path) -> None:
    head = verify(trail).head
    names = {"README.txt", "blocks", "index.json", "keys.json", "manifest.json", "records.jsonl", "records.parquet"}
    assert set(os.listdir(bundle)) == {*names, "verify.py"}
    lines = [json.loads(line) for line in (bundle / "records.jsonl").read_bytes().splitlines()]
    assert lines == [as_mapping(one) for one in query(trail)]
    status, out = run(bundle, "--keys", f"{trail}/signers.json", "--head", str(head))
    assert status == 0, out
    assert out.startswith("PASS")
    assert "NOTE" not in out
    status, out = run(bundle)
    assert status == 0
    assert "KEYS CAME FROM THE BUNDLE ITSELF" in out
    assert "1 RFC 3161 tokens" in out


def test_only_the_standard_library_of_python_3_8() -> None:
    import ast

    tree = ast.parse(SHIPPED.read_text(), feature_version=(3, 8))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert imported <= {"argparse", "hashlib", "json", "os", "struct", "sys", "time", "zlib"}
    assert len(SHIPPED.read_text().splitlines()) < 680


def test_a_range_of_time(trail: str, tmp_path: Path) -> None:
    report = export(trail, str(tmp_path / "part"), since_ns=T0 + 9, until_ns=T0 + 30, formats=["jsonl"])
    numbers = [json.loads(line)["size_bytes"] for line in (tmp_path / "part" / "records.jsonl").open()]
    assert numbers == [number * 10 for number in range(9, 30)]
    assert report.records == 21
    assert (report.first_block, report.last_block) == (4, 11)
    assert verify(trail, expected_head=report.head).ok
    assert not (tmp_path / "part" / "records.parquet").exists()
    status, out = run(tmp_path / "part", "--keys", f"{trail}/signers.json", "--head", str(report.head))
    assert status == 0, out
    # Nobody takes a part for the whole.
    times = f"from {time_text(T0 + 9)} until {time_text(T0 + 30)}"
    assert f"NOTE: THIS IS A SELECTION: 21 OF 25 RECORDS OF THESE BLOCKS, those with a time {times}." in out
    assert "NOTE: THIS IS A PART OF THE TRAIL: records 10 to 34; the trail begins with record 1" in out
    assert "not proven: that no block before or behind these holds a record of the range" in out
    # The block that introduced the key is not in it: keys.json tells it.
    early = export(trail, str(tmp_path / "early"), until_ns=T0 + 8)
    assert (early.first_block, early.last_block) == (2, 3)
    assert run(tmp_path / "early")[0] == 0


def test_a_head_that_is_not_in_the_bundle_is_no_proof_of_a_change(trail: str, tmp_path: Path) -> None:
    """The story: a month was handed out with the newest head, and the verifier ended as it does for a forgery."""
    export(trail, str(tmp_path / "early"), until_ns=T0 + 8)
    heads = [block.head for block in Walk(OsDisk(), trail)]
    status, out = run(tmp_path / "early", "--head", str(heads[10]))
    assert status == 2
    assert out.startswith(
        "ERROR  the head cannot be held against this bundle: it is of record 34 (block 11), and the bundle has blocks "
        "2 to 3; give a head of one of these blocks, or ask for an export up to that record\n"
        "What is in the bundle holds: "
    )
    assert "PASS" not in out
    status, out = run(tmp_path / "early", "--head", str(heads[0]))
    assert status == 2
    assert "it is of record 1 (block 1)" in out
    assert "an export from that record" in out
    # Of a file of heads the last that lies in the bundle counts, as it was appended to by a timer.
    kept = tmp_path / "heads.txt"
    kept.write_text("".join(f"{head}\n" for head in heads))
    status, out = run(tmp_path / "early", "--head", f"@{kept}")
    assert status == 0, out
    assert "no --head" not in out
    assert "the head is of record" not in out
    kept.write_text("".join(f"{head}\n" for head in heads[3:]))
    assert run(tmp_path / "early", "--head", f"@{kept}")[0] == 2
    wrong = heads[2]._replace(digest=bytes(32))
    kept.write_text(f"{heads[1]}\n{wrong}\n{heads[9]}\n")
    status, out = run(tmp_path / "early", "--head", f"@{kept}")
    assert (status, out[:4]) == (1, "FAIL")
    kept.write_text("\n")
    assert run(tmp_path / "early", "--head", f"@{kept}")[0] == 1
    assert run(tmp_path / "early", "--head", "")[0] == 1
    assert run(tmp_path / "early", "--head", f"@{tmp_path}/none.txt")[0] == 2
    # What does not hold is said first, whatever the head.
    path = tmp_path / "early" / "records.jsonl"
    path.write_bytes(changed_line(path.read_bytes()))
    _rewrite_manifest(tmp_path / "early")
    assert run(tmp_path / "early", "--head", str(heads[10]))[0] == 1


def test_the_index_tells_where_blocks_lie(bundle: Path) -> None:
    for entry in json.loads((bundle / "index.json").read_bytes())["blocks"]:
        raw = (bundle / entry["file"]).read_bytes()[entry["offset"] :][: entry["size"]]
        assert raw[:8] == b"TVAUBLK1"
        assert int.from_bytes(raw[16:24], "little") == entry["block"]
        assert bytes.fromhex(entry["hash"]) in raw


def test_parquet_has_the_same_records(trail: str, bundle: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    rows = pq.read_table(bundle / "records.parquet").to_pylist()
    found = list(query(trail))
    assert [row["sequence"] for row in rows] == [one.sequence for one in found]
    assert [row["time"].value for row in rows] == [one.time_ns for one in found]
    assert rows[1]["key"] == "k0/é\\udc80\n"
    assert dict(rows[0]["detail"]) == found[0].detail


def test_without_pyarrow_it_is_said(trail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    report = export(trail, str(tmp_path / "bundle"))
    assert report.left_out == {"parquet": "pyarrow is not installed"}
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())["left_out"] == report.left_out
    assert run(tmp_path / "bundle")[0] == 0


def test_what_export_refuses_leaves_nothing(trail: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(AlreadyExistsError):
        export(trail, str(tmp_path / "there"))
    with pytest.raises(NotFoundError, match="longer range"):
        export(trail, str(tmp_path / "out"), since_ns=T0 + 10**15)
    with pytest.raises(InvalidInputError, match="jsonl, parquet"):
        export(trail, str(tmp_path / "out"), formats=["csv"])
    with pytest.raises(InvalidInputError, match="earlier"):
        export(trail, str(tmp_path / "out"), since_ns=5, until_ns=5)
    copy = tmp_path / "copy"
    shutil.copytree(trail, copy)
    block = list(Walk(OsDisk(), str(copy)))[1]
    with (copy / file_name(1)).open("r+b") as file:
        file.seek(block.offset + 300)
        file.write(b"\xff\xff\xff")
    with pytest.raises(BrokenBlockError):
        export(str(copy), str(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path)) == ["copy", "there"]


def _rewrite_manifest(bundle: Path, **changes: Any) -> None:
    """What somebody does who changes a bundle and knows what its manifest is for."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest.update(changes)
    for name, entry in manifest["files"].items():
        raw = (bundle / name).read_bytes()
        entry.update(size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_every_file_changed_is_noticed(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for name in manifest["files"]:
        if name == "verify.py":
            continue
        whole = (bundle / name).read_bytes()
        (bundle / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        status, out = run(bundle)
        assert status == 1
        assert name in out
        (bundle / name).unlink()
        assert run(bundle)[0] == 1
        (bundle / name).write_bytes(whole)
    assert run(bundle)[0] == 0


@pytest.fixture
def part(trail: str, tmp_path: Path) -> Path:
    export(trail, str(tmp_path / "part"), since_ns=T0 + 9, until_ns=T0 + 30, formats=["jsonl"])
    return tmp_path / "part"


def narrowed(bundle: Path, **bounds: int) -> None:
    """What somebody does who wants fewer records to be seen, and knows the format."""
    manifest = json.loads((bundle / "manifest.json").read_bytes()) | bounds
    lines = (bundle / "records.jsonl").read_bytes().splitlines(True)
    lines = [line for line in lines if manifest["since_ns"] <= json.loads(line)["time_ns"] < manifest["until_ns"]]
    (bundle / "records.jsonl").write_bytes(b"".join(lines))
    text = (bundle / "README.txt").read_text().split("\n")
    text[2] = (
        f"Trail {manifest['trail_id']}, blocks {manifest['first_block']} to {manifest['last_block']}, {len(lines)} "
        f"records from {time_text(manifest['since_ns'])} until {time_text(manifest['until_ns'])}."
    )
    (bundle / "README.txt").write_text("\n".join(text))
    _rewrite_manifest(bundle, **bounds, records=len(lines))


def test_a_manifest_that_was_narrowed(part: Path) -> None:
    """The story: records were left out of a bundle by another range in its manifest, and it passed in silence."""
    narrowed(part, since_ns=T0 + 11, until_ns=T0 + 29)
    status, out = run(part)
    assert status == 0, out
    assert "NOTE: THIS IS A SELECTION: 18 OF 25 RECORDS OF THESE BLOCKS" in out
    # Beyond what one block holds it cannot be narrowed: no export takes a block that it has no use for.
    narrowed(part, since_ns=T0 + 12, until_ns=T0 + 29)
    status, out = run(part)
    assert status == 1
    assert "block 4 at an end of the bundle holds nothing of its range" in out


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"since_ns": T0 + 10**9}, "range"),
        ({"since_ns": "1"}, "range of time, since_ns, must be a whole number"),
        ({"since_ns": True, "records": 34}, "range of time, since_ns, must be a whole number"),
        ({"since_ns": -(10**30)}, "range of time, since_ns, must be a whole number"),
        ({"until_ns": 10**30}, "range of time, until_ns, must be a whole number"),
        ({"since_ns": T0 + 30, "until_ns": T0 + 9, "records": 0}, "records.jsonl has more lines"),
        ({"first_sequence": float("inf")}, "Infinity is no number"),
        ({"first_block": True}, "first_block must be a whole number"),
        ({"records": 21.0}, "records must be a whole number"),
        ({"last_block": -1}, "last_block must be a whole number"),
        ({"format": True}, "the bundle has format True"),
        ({"trail_id": 5}, "trail_id is not made of 32 hexadecimal digits"),
        ({"previous_hash": "00"}, "previous_hash is not made of 64 hexadecimal digits"),
        ({"made": 5}, "made must be a text"),
        ({"records": 20}, "says others"),
        ({"first_sequence": 11}, "its first record must have sequence 11"),
        ({"last_sequence": 33}, "says others"),
        ({"first_block": 5}, "blocks are missing"),
        ({"last_block": 10}, "says others"),
        ({"head": "tickvault-head:00:1:1:00:00"}, "the head in manifest.json"),
        ({"trail_head": "tickvault-head:00:1:1:00:00"}, "the head of the trail in manifest.json"),
        ({"trail_head": "none"}, "no head line"),
        ({"left_out": {"jsonl": "no room"}}, "'jsonl' was left out, which is not so"),
        ({"left_out": {"csv": "no room"}}, "'csv' was left out"),
        ({"made": "2030-01-01T00:00:00Z"}, "README.txt tells of another bundle"),
        ({"tickvault": "9.9"}, "README.txt tells of another bundle"),
    ],
)
def test_claims_of_the_manifest_that_the_blocks_do_not_show(part: Path, changes: dict[str, Any], what: str) -> None:
    _rewrite_manifest(part, **changes)
    status, out = run(part)
    assert status == 1, out
    assert what in out


def test_what_the_blocks_cannot_show_is_told_as_not_proven(trail: str, part: Path) -> None:
    _rewrite_manifest(part, left_out={"parquet": "the desk asked for it"}, approved_by="the regulator")
    status, out = run(part)
    assert status == 0, out
    assert "not proven: why parquet was left out ('the desk asked for it')" in out
    assert "not proven: what manifest.json says of 'approved_by'" in out
    end = verify(trail).head
    assert f"not proven: that the trail ended with record {end.sequence} in block {end.block_number} then" in out


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("index.json", lambda raw: raw.replace(b'"last_sequence": 13', b'"last_sequence": 14')),
        ("index.json", lambda raw: b'{"blocks": []}'),
        ("README.txt", lambda raw: raw.replace(b"21 records", b"34 records")),
        ("README.txt", lambda raw: b""),
        ("keys.json", lambda raw: raw.replace(b'"key_id": "', b'"key_id": "00', 1)),
    ],
)
def test_files_that_say_other_than_the_blocks(part: Path, name: str, change: Any) -> None:
    whole = (part / name).read_bytes()
    assert change(whole) != whole
    (part / name).write_bytes(change(whole))
    _rewrite_manifest(part)
    status, out = run(part)
    assert status == 1, out
    assert name in out


def test_records_behind_the_head_are_told(trail: str, bundle: Path) -> None:
    early = list(Walk(OsDisk(), trail))[3]
    status, out = run(bundle, "--keys", f"{trail}/signers.json", "--head", str(early.head))
    assert status == 0, out
    assert f"the head is of record {early.header.last_sequence}; that the " in out


def changed_line(raw: bytes) -> bytes:
    return raw.replace(b'"identity":"arn:aws:iam::000000000000:user/alice"', b'"identity":"mallory"', 1)


def first_line_removed(raw: bytes) -> bytes:
    return raw.split(b"\n", 1)[1]


@pytest.mark.parametrize(
    "change",
    [
        changed_line,
        first_line_removed,
        lambda raw: raw + raw.splitlines(True)[-1],
        lambda raw: raw[:-1],
        lambda raw: b"",
    ],
)
def test_lines_that_the_blocks_do_not_say(bundle: Path, change: Any) -> None:
    path = bundle / "records.jsonl"
    path.write_bytes(change(path.read_bytes()))
    _rewrite_manifest(bundle)
    status, out = run(bundle)
    assert status == 1
    assert "records.jsonl" in out


def in_process(bundle: Path, keys: Path | None = None) -> str:
    """Run the verifier without a process; return what it says is wrong."""
    try:
        manifest = VERIFIER.load_json(bundle / "manifest.json")
        VERIFIER.check_files(bundle, manifest)
        known, places = VERIFIER.load_keys(keys or bundle / "keys.json")
        VERIFIER.check_blocks(bundle, manifest, known, keys is not None, None, places)
    except VERIFIER.Fault as fault:
        return str(fault)
    return ""


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_changed_block_is_found_though_the_manifest_was_made_again(
    trail: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bundle = tmp_path_factory.getbasetemp() / "changed-bundle"
    if not bundle.exists():
        export(trail, str(bundle), formats=["jsonl"])
        assert in_process(bundle) == ""
    path = data.draw(st.sampled_from(sorted((bundle / "blocks").iterdir())))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    raw = bytearray(whole)
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(raw)
        _rewrite_manifest(bundle)
        assert path.name in in_process(bundle)
    finally:
        path.write_bytes(whole)
        _rewrite_manifest(bundle)


def test_a_bundle_made_anew_with_another_key(trail: str, tmp_path: Path) -> None:
    """Only the keys that were kept elsewhere tell a forgery from the trail."""
    with opened(tmp_path / "forged", signer=OTHER_SIGNER) as writer:
        writer.append([record(1, identity="mallory")])
    export(str(tmp_path / "forged"), str(tmp_path / "bundle"))
    assert run(tmp_path / "bundle")[0] == 0
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"signers": [{"algorithm": "ed25519", "public_key": SIGNER.public_key.key.hex()}]}))
    status, out = run(tmp_path / "bundle", "--keys", str(keys))
    assert status == 1
    assert "none of the public keys" in out


@pytest.fixture
def rotated(tmp_path: Path) -> tuple[Path, Path]:
    """A copy of a trail made before its key was rotated and gone on with, and the keys as they were after that."""
    with opened(tmp_path / "trail") as writer:
        writer.append([record(1)])
        shutil.copytree(tmp_path / "trail", tmp_path / "copy")
        writer.rotate(OTHER_SIGNER)
        writer.append([record(2)])
    with opened(tmp_path / "copy") as writer:
        for number in range(2, 6):
            writer.append([record(number)])
    return tmp_path / "copy", tmp_path / "trail" / "signers.json"


def test_a_key_that_was_replaced_signs_no_more(rotated: tuple[Path, Path], tmp_path: Path) -> None:
    """The story: blocks that the old key signed after its rotation passed against the list that names the new one."""
    copy, keys = rotated
    name = OTHER_SIGNER.public_key.key_id.hex()
    export(str(copy), str(tmp_path / "whole"))
    export(str(copy), str(tmp_path / "part"), since_ns=T0 + 5, until_ns=T0 + 100)
    assert json.loads((tmp_path / "part" / "manifest.json").read_bytes())["first_block"] == 6
    for bundle, block in (("whole", 3), ("part", 6)):
        assert run(tmp_path / bundle)[0] == 0
        assert run(tmp_path / bundle, "--keys", str(copy / "signers.json"))[0] == 0
        status, out = run(tmp_path / bundle, "--keys", str(keys))
        assert status == 1, out
        assert f"block {block}" in out
        assert f"must be signed by key {name}, which the keys you gave name from" in out


@pytest.mark.parametrize("since", [1, 4, 8, 12, 16, 20, 24])
def test_kept_keys_and_a_bundle_that_begins_anywhere(tmp_path: Path, since: int) -> None:
    """What the trail itself passes with, each part of it does: rotations, a lost key, and lists of each age."""
    third, folder, lists = Ed25519Signer(bytes(range(2, 34))), tmp_path / "trail", []

    def keep() -> None:
        lists.append(tmp_path / f"signers-{len(lists)}.json")
        shutil.copy(folder / "signers.json", lists[-1])

    with opened(folder) as writer:
        writer.append([record(1), record(4)])
        keep()
        writer.rotate(OTHER_SIGNER)
        writer.append([record(8)])
        keep()
        writer.rotate(SIGNER)
        writer.append([record(12)])
        keep()
    with opened(folder, signer=third, key_lost=True) as writer:
        writer.append([record(16), record(20)])
        writer.append([record(24)])
        keep()
    places = [entry["first_block"] for entry in json.loads(lists[-1].read_bytes())["signers"]]
    assert places == [1, 3, 5, 7]
    part = tmp_path / "part"
    # Times of the records that introduce keys are much later.
    export(str(folder), str(part), since_ns=T0 + since, until_ns=T0 + 100, formats=["jsonl"])
    assert in_process(part, lists[-1]) == ""
    # No older list vouches for the key that introduced itself.
    for older in lists[:-1]:
        assert in_process(part, older) != ""
    # Each key in the place of another.
    entries = json.loads(lists[-1].read_bytes())["signers"]
    entries[3]["first_block"], entries[0]["first_block"] = 1, 7
    (tmp_path / "wrong.json").write_text(json.dumps({"signers": entries}))
    assert in_process(part, tmp_path / "wrong.json") != ""


def test_a_chained_key_that_was_replaced_does_not_introduce_itself(tmp_path: Path) -> None:
    """The story: a key that only the chain had named, once replaced, could say that the one after it was lost."""
    third = Ed25519Signer(bytes(range(2, 34)))
    with opened(tmp_path / "trail") as writer:
        keys = tmp_path / "keys.json"
        shutil.copy(tmp_path / "trail" / "signers.json", keys)
        writer.rotate(OTHER_SIGNER)
        writer.rotate(third)
        writer._signer = OTHER_SIGNER
        writer._append_body(1, pack_body([encode(key_record(OTHER_SIGNER.public_key, 5))]), None, FLAG_KEYS)
    export(str(tmp_path / "trail"), str(tmp_path / "bundle"))
    status, out = run(tmp_path / "bundle", "--keys", str(keys))
    assert status == 1, out
    assert f"must be by {third.public_key.key_id.hex()}" in out


def test_what_is_only_in_the_manifest_is_not_called_proven(bundle: Path) -> None:
    """The story: a replaced records.parquet was called the file that was exported, once the manifest fitted it."""
    (bundle / "records.parquet").write_bytes(b"other records")
    (bundle / "approved.csv").write_text("by,whom")
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"]["approved.csv"] = {}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    _rewrite_manifest(bundle)
    status, out = run(bundle)
    assert status == 0, out
    assert (
        "records.parquet fits the manifest, which nothing signs: what it holds is not proven; records.jsonl is" in out
    )
    assert "exported;" not in out
    assert "not proven: what 'approved.csv' holds: it fits the manifest, which nothing signs" in out
    assert "not proven: what keys.json says of keys that signed none of these blocks" in out
    assert "not proven: that the verify.py in the bundle is TickVault's" in out


def test_symbolic_links_are_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name, target in (("more", tmp_path / "elsewhere"), ("blocks/gone", "nowhere")):
        (bundle / name).symlink_to(target)
        status, out = run(bundle)
        assert status == 1
        assert out.startswith(f"FAIL  {name} is a symbolic link")
        (bundle / name).unlink()
    (bundle / "records.jsonl").rename(tmp_path / "records.jsonl")
    (bundle / "records.jsonl").symlink_to(tmp_path / "records.jsonl")
    status, out = run(bundle)
    assert (status, "records.jsonl is a symbolic link" in out) == (1, True)


def test_a_name_writes_no_lines_of_its_own(bundle: Path) -> None:
    (bundle / "x\nPASS  all\x1b[2J\udce9").write_text("")
    status, out = run(bundle)
    assert status == 1
    assert out == "FAIL  x\\nPASS  all\\x1b[2J\\udce9 is not named in manifest.json: it is no part of the bundle\n"


def test_an_index_with_numbers_that_only_python_finds_equal(bundle: Path) -> None:
    whole = (bundle / "index.json").read_text()
    for number in ("true", "1.0"):
        (bundle / "index.json").write_text(whole.replace('"block": 1,', f'"block": {number},'))
        _rewrite_manifest(bundle)
        status, out = run(bundle)
        assert (status, "index.json is not what the blocks say" in out) == (1, True)


def test_a_file_that_the_manifest_does_not_name(bundle: Path) -> None:
    """Lines that nobody compared, beside a manifest that does not mention them."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    del manifest["files"]["records.jsonl"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    status, out = run(bundle)
    assert status == 1
    assert "records.jsonl is not named" in out


def test_blocks_left_out_of_a_bundle(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    last = sorted(name for name in manifest["files"] if name.startswith("blocks/"))[-1]
    (bundle / last).unlink()
    del manifest["files"][last]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert run(bundle)[0] == 1


@pytest.mark.parametrize(
    "head", ["nonsense", "tickvault-head:00:1:1:00:00", "tickvault-head:" + "00" * 16 + ":1:1:00:00"]
)
def test_heads_that_are_not_of_the_bundle(bundle: Path, head: str) -> None:
    status, out = run(bundle, "--head", head)
    assert status == 1
    assert out.startswith("FAIL")


def test_manifests_that_are_none(bundle: Path) -> None:
    whole = json.loads((bundle / "manifest.json").read_bytes())
    for name in whole:
        (bundle / "manifest.json").write_text(json.dumps({key: whole[key] for key in whole if key != name}))
        status, out = run(bundle) if name in ("format", "files") else (1, "FAIL")
        assert (status, out[:4]) == (1, "FAIL")
    for text in ("", "[]", "[" * 100_000, '{"format": 2}', json.dumps(whole | {"files": {"../x": {}}})):
        (bundle / "manifest.json").write_text(text)
        status, out = run(bundle)
        assert (status, out[:4]) == (1, "FAIL")
    (bundle / "manifest.json").unlink()
    assert run(bundle)[0] == 2


def test_tokens_are_given_out(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    assert run(bundle, "--tokens", str(tmp_path / "tokens"))[0] == 0
    (name,) = os.listdir(tmp_path / "tokens")
    assert (tmp_path / "tokens" / name).read_bytes() == b"a token"
    stamped = name.split("-")[1].removesuffix(".token")
    assert stamped in (bundle / "index.json").read_text()


def test_sm3(tmp_path: Path) -> None:
    trail = made(tmp_path / "trail", "sm3")
    export(trail, str(tmp_path / "bundle"))
    assert run(tmp_path / "bundle")[0] == 0
    # GB/T 32905-2016, annex A.
    assert VERIFIER.sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert VERIFIER.sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"
    for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
        assert VERIFIER.sm3(bytes(size)) == hashlib.new("sm3", bytes(size)).digest()


#: RFC 8032, section 7.1: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_rfc_8032(key: str, message: str, signature: str) -> None:
    raw_key, raw_message, raw = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    Ed25519PublicKey.from_public_bytes(raw_key).verify(raw, raw_message)
    assert VERIFIER.ed25519_verify(raw_key, raw_message, raw)
    assert not VERIFIER.ed25519_verify(raw_key, raw_message + b"x", raw)
    for place in (0, 31, 32, 63):
        wrong = bytearray(raw)
        wrong[place] ^= 1
        assert not VERIFIER.ed25519_verify(raw_key, raw_message, bytes(wrong))
    # Section 5.1.7: S must be below L, or anybody could make a second signature of the first.
    s = int.from_bytes(raw[32:], "little") + VERIFIER.L
    assert not VERIFIER.ed25519_verify(raw_key, raw_message, raw[:32] + s.to_bytes(32, "little"))


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_keys_and_signatures_of_any_bytes(key: bytes, signature: bytes) -> None:
    assert not VERIFIER.ed25519_verify(key, b"message", signature)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_times_read_alike(time_ns: int) -> None:
    assert VERIFIER.time_text(time_ns) == time_text(time_ns)
    seconds = time_ns // 10**9
    import datetime

    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    assert time_text(time_ns) == f"{moment.isoformat()}.{time_ns % 10**9:09d}Z"

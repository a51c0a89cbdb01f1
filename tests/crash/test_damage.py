"""Damaged files: a flipped bit anywhere is an error that names the object, or nothing at all; never wrong bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from peer import OPTIONS, body_of

import tickvault as tv
from tickvault.engine.recovery import IDENTITY_FILE

#: key -> size, in bucket "raw": in a batch, of several frames, and in segments of their own.
OBJECTS = {
    **{f"small/{number:02d}": 100 + 37 * number for number in range(40)},
    "empty": 0,
    "frames": 200_000,
    "large": 400_000,
    "larger": 700_000,
}


def fill(folder: Path) -> None:
    """Make a vault that holds `OBJECTS` in "raw", and things of every other kind beside them."""
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        versioned = vault.create_bucket("versioned", versioning=True)
        for key, size in OBJECTS.items():
            raw.put(key, b"an older version" * 40)
            raw.put(key, body_of(key, size))
        for number in range(10):
            versioned.put("v", b"%d" % number, tags={"n": str(number)})
        versioned.delete("v")
        upload = raw.create_upload("parts")
        part = raw.put_part("parts", upload.upload_id, 1, body_of("parts", 5000))
        raw.complete_upload("parts", upload.upload_id, [(1, part.etag)])
        raw.create_upload("never finished")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "vault"
    fill(made)
    return made


def segment_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "segments").iterdir() if path.suffix == ".seg")


def flip(path: Path, offset: int, bit: int) -> None:
    """Flip a bit, keeping the file the same file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def places(path: Path, count: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Random bits of a file, most of them in what is not zero."""
    raw = path.read_bytes()
    used = [offset for offset in range(0, len(raw), 64) if any(raw[offset : offset + 64])]
    for _ in range(count):
        yield rng.choice(used) + rng.randrange(64), rng.randrange(8)


def damaged_keys(vault: tv.Vault) -> list[str]:
    """Read every object: what is handed out must be right, and an error must name the object.

    Returns the keys of what is damaged.
    """
    raw = vault["raw"]
    damaged = []
    for key, size in {**OBJECTS, "parts": 5000}.items():
        try:
            blob = raw.get(key)
        except tv.IntegrityError as error:
            assert key in str(error), f"{key}: {error}"
            damaged.append(key)
        else:
            assert blob == body_of(key, size), f"wrong bytes of {key} were handed out"
    return damaged


def missing_keys(vault: tv.Vault) -> list[str]:
    found = {info.key for info in vault["raw"].list()}
    return [key for key in (*OBJECTS, "parts") if key not in found]


@pytest.mark.parametrize("kind", ["journal", "body"])
def test_a_flipped_bit_in_a_segment_is_an_error_that_names_the_object(folder: Path, kind: str) -> None:
    rng = random.Random(kind)
    hits = 0
    with tv.open(folder, options=OPTIONS) as vault:
        for path in segment_files(folder):
            if not path.name.startswith(kind):
                continue
            for offset, bit in places(path, 60, rng):
                flip(path, offset, bit)
                hits += bool(damaged_keys(vault))
                flip(path, offset, bit)
        assert damaged_keys(vault) == []
    assert hits > 20


def test_ranges_and_streams_of_a_damaged_object_hand_out_sound_frames_only(folder: Path) -> None:
    whole = body_of("larger", OBJECTS["larger"])
    with tv.open(folder, options=OPTIONS) as vault:
        path, at = next((path, at) for path in segment_files(folder) if (at := path.read_bytes().find(whole)) > 0)
        flip(path, at + 200_000, 3)
        raw = vault["raw"]
        with pytest.raises(tv.IntegrityError, match="larger"):
            raw.get("larger")
        with pytest.raises(tv.IntegrityError, match="larger"):
            raw.get("larger", start=199_000, end=201_000)
        assert raw.get("larger", start=0, end=100_000) == whole[:100_000]
        assert raw.get("larger", start=500_000) == whole[500_000:]
        seen = b""
        with pytest.raises(tv.IntegrityError, match="larger"):
            for piece in raw.read("larger").chunks():
                seen += piece
        assert whole.startswith(seen)


def test_verify_names_a_damaged_object(folder: Path) -> None:
    with tv.open(folder, options=OPTIONS) as vault:
        assert vault.verify().sound
        raw = body_of("small/07", OBJECTS["small/07"])
        path, at = next((path, at) for path in segment_files(folder) if (at := path.read_bytes().find(raw)) > 0)
        flip(path, at + 50, 0)
        report = vault.verify()
        assert not report.sound
        assert [found.key for found in report.damaged_objects] == ["small/07"]


@pytest.mark.parametrize("kind", ["journal", "body"])
def test_an_index_built_from_damaged_segments_serves_no_wrong_bytes_and_hides_no_damage(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    """What a rebuild cannot save is told: by the error of the object, or by the report of the rebuild."""
    rng = random.Random(kind)
    for path in segment_files(folder):
        if not path.name.startswith(kind):
            continue
        for number, (offset, bit) in enumerate(places(path, 10, rng)):
            copy = tmp_path / f"copy-{path.stem}-{number}"
            shutil.copytree(folder, copy)
            flip(copy / "segments" / path.name, offset, bit)
            place = f"{path.name} at {offset}, bit {bit}"
            try:
                vault = tv.open(copy, options=OPTIONS)
            except tv.IntegrityError as error:
                assert path.name in str(error), place
            else:
                with vault:
                    try:
                        missing = missing_keys(vault)
                    except tv.BucketNotFoundError:
                        missing = ["all"]
                    if missing:
                        assert vault.store.engine.report.damage, f"{missing} lost without a word: {place}"
                    else:
                        damaged_keys(vault)
            shutil.rmtree(copy)


def test_a_flipped_bit_in_the_last_batch_is_not_taken_for_a_torn_write(folder: Path) -> None:
    """A batch that was acknowledged is not dropped in silence, only because nothing was written after it."""
    with tv.open(folder, options=OPTIONS) as vault:
        vault["raw"].put("last", b"the last of all" * 50)
    path, at = next(
        (path, at) for path in segment_files(folder) if (at := path.read_bytes().find(b"the last of all" * 50)) > 0
    )
    flip(path, at + 3, 5)
    with tv.open(folder, options=OPTIONS) as vault, pytest.raises(tv.IntegrityError, match="last"):
        vault["raw"].get("last")
    tv.rebuild_index(folder)
    with tv.open(folder, options=OPTIONS) as vault, pytest.raises(tv.IntegrityError, match="last"):
        vault["raw"].get("last")


# -- the index


FORK_SERVER = """
# Forks a child for each flip, so that the interpreter and its imports are paid for once.
import json, os, random, sys
from pathlib import Path
import test_damage
import tickvault as tv

path, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
data = path / sys.argv[4] / "data.mdb"
before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
counts = {"sound": 0, "told": 0}
for offset, bit in test_damage.places(data, count, random.Random(seed)):
    test_damage.flip(data, offset, bit)
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            try:
                vault = tv.open(path, options=test_damage.OPTIONS)
                try:
                    try:
                        test_damage.missing_keys(vault)
                        test_damage.damaged_keys(vault)
                    except tv.NotFoundError:
                        pass
                    vault.verify()
                    assert not test_damage.missing_keys(vault), "verify left objects missing"
                    assert not test_damage.damaged_keys(vault), "verify left objects damaged"
                    status = 0
                finally:
                    vault.close()
            except tv.TickVaultError:
                status = 1
        except BaseException as error:
            print(f"offset {offset}, bit {bit}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in (0, 1):
        sys.exit(f"offset {offset}, bit {bit} of {data.parent.name}: exit status {status}")
    counts["sound" if status == 0 else "told"] += 1
    if status == 1:
        tv.rebuild_index(path)
        with tv.open(path, options=test_damage.OPTIONS) as vault:
            assert not test_damage.missing_keys(vault)
            assert not test_damage.damaged_keys(vault)
    # The same files as before, so that they are trusted again.
    for file in [file for file in path.rglob("*") if file.is_file() and file not in before]:
        file.unlink()
    for file, content in before.items():
        file.parent.mkdir(exist_ok=True)
        with file.open("r+b" if file.exists() else "xb") as opened:
            opened.write(content)
            opened.truncate()
    identity = json.loads((path / "identity.json").read_text())
    for name in ("recent", "index"):
        status = (path / name / "data.mdb").stat()
        identity[name] = [status.st_dev, status.st_ino]
    (path / "identity.json").write_text(json.dumps(identity))
print(json.dumps(counts))
"""


@pytest.mark.parametrize("name", ["index", "recent"])
def test_a_flipped_bit_in_the_index_serves_no_wrong_bytes_and_is_healed(folder: Path, name: str) -> None:
    """In processes of their own: LMDB does not check its pages, and must not take the process with it."""
    if name == "recent":
        # Leave something in `recent`: the process ends without a checkpoint.
        pid = os.fork()
        if pid == 0:
            vault = tv.open(folder, options=OPTIONS)
            for key, size in list(OBJECTS.items())[:30]:
                vault["raw"].put(key, body_of(key, size))
            os._exit(0)
        os.waitpid(pid, 0)
    done = subprocess.run(
        [sys.executable, "-c", FORK_SERVER, str(folder), "80", "1", name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout).values()) == 80


# -- manifest, format, files that are missing or do not belong


def test_a_flipped_bit_in_the_manifest_loses_no_segment_in_silence(folder: Path, tmp_path: Path) -> None:
    """Story: a flipped bit in the last entry was taken for an append torn by a crash; the segment it named was then a
    file that nobody knew, and was removed with the acknowledged objects in it."""
    size = (folder / "manifest").stat().st_size
    rng = random.Random(1)
    last = [(size - 64 + offset, rng.randrange(8)) for offset in range(64)]
    earlier = [(rng.randrange(size - 64), rng.randrange(8)) for _ in range(15)]
    for number, (offset, bit) in enumerate(last + earlier):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(folder, copy)
        flip(copy / "manifest", offset, bit)
        before = {path.name for path in segment_files(copy)}
        try:
            with tv.open(copy, options=OPTIONS) as vault:
                assert missing_keys(vault) == [], f"manifest byte {offset}"
                assert damaged_keys(vault) == []
        except tv.IntegrityError as error:
            assert "manifest" in str(error)
            assert {path.name for path in segment_files(copy)} == before
        shutil.rmtree(copy)


def test_an_append_to_the_manifest_torn_by_a_crash_is_cut_off(folder: Path) -> None:
    with (folder / "manifest").open("ab") as file:
        file.write(b"\x01" * 40)
    (folder / IDENTITY_FILE).unlink()
    with tv.open(folder, options=OPTIONS) as vault:
        assert missing_keys(vault) == []
        assert damaged_keys(vault) == []


def test_a_missing_manifest_is_told(folder: Path) -> None:
    (folder / "manifest").unlink()
    with pytest.raises(tv.IntegrityError, match="manifest"):
        tv.open(folder, options=OPTIONS)
    assert len(segment_files(folder)) > 2


def test_a_missing_segment_is_told_and_never_a_gap(folder: Path) -> None:
    for path in segment_files(folder):
        aside = folder / "aside"
        path.rename(aside)
        with pytest.raises(tv.IntegrityError, match=path.name):
            tv.open(folder, options=OPTIONS)
        aside.rename(path)
    with tv.open(folder, options=OPTIONS) as vault:
        assert damaged_keys(vault) == []


def test_a_segment_cut_short_is_told(folder: Path) -> None:
    for path in segment_files(folder):
        raw = path.read_bytes()
        os.truncate(path, 1000)
        try:
            tv.rebuild_index(folder)
            with tv.open(folder, options=OPTIONS) as vault:
                assert missing_keys(vault) == []
                assert damaged_keys(vault)
        except tv.IntegrityError as error:
            assert path.name in str(error)
        path.write_bytes(raw)
    tv.rebuild_index(folder)
    with tv.open(folder, options=OPTIONS) as vault:
        assert missing_keys(vault) == []
        assert damaged_keys(vault) == []


def test_a_newer_format_is_refused_with_words(folder: Path) -> None:
    path = folder / "format.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "format": raw["format"] + 1}))
    with pytest.raises(tv.FormatError, match=r"[Uu]pgrade tickvault"):
        tv.open(folder, options=OPTIONS)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "x"}', "null", '{"format": 1}'])
def test_a_damaged_format_file_is_told(folder: Path, content: str) -> None:
    (folder / "format.json").write_text(content)
    with pytest.raises(tv.FormatError, match=r"format.json is damaged"):
        tv.open(folder, options=OPTIONS)


def test_a_folder_with_other_files_is_not_taken_for_a_new_vault(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(tv.FormatError, match=r"thesis.txt"):
        tv.open(tmp_path, options=OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(tv.FormatError, match="is a file"):
        tv.open(tmp_path / "thesis.txt", options=OPTIONS)


def test_files_left_over_by_a_crash_are_no_harm(folder: Path) -> None:
    (folder / "format.json.new").write_bytes(b"half")
    (folder / "identity.json.new").write_bytes(b"half")
    (folder / "segments" / "prepared.next.making").write_bytes(bytes(100_000))
    (folder / "segments" / "journal-0000000099.seg").write_bytes(bytes(65_536))
    (folder / IDENTITY_FILE).unlink()
    with tv.open(folder, options=OPTIONS) as vault:
        assert missing_keys(vault) == []
        assert damaged_keys(vault) == []
        vault["raw"].put("after", b"x" * 60_000)
        vault["raw"].put("after too", b"x" * 60_000)
        assert vault.verify().sound


def test_a_segment_made_but_not_yet_named_is_removed(folder: Path) -> None:
    """Story: after kill -9 between making a segment's file and naming it, the vault refused to open for ever, because
    a file with a sound header was taken for one that the manifest had lost."""
    header = segment_files(folder)[-1].read_bytes()[:4096]
    stray = folder / "segments" / "body-0000000077.seg"
    stray.write_bytes(header)
    with tv.open(folder, options=OPTIONS) as vault:
        assert missing_keys(vault) == []
    assert not stray.exists()


# -- copies


def test_a_copy_of_a_live_vault_has_everything_acknowledged_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    acknowledged: list[str] = []
    stop = threading.Event()
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                raw.put(f"k{number}", body_of(f"k{number}", 300_000 if number % 50 == 0 else 2000))
                acknowledged.append(f"k{number}")
                if number % 40 == 0:
                    vault.store.engine.checkpoint()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(6):
                while len(acknowledged) < 60 * (number + 1):
                    stop.wait(0.001)
                count = len(acknowledged)
                copy = tmp_path / f"copy{number}"
                # Files that come and go under its hands make cp complain, and copy the others.
                subprocess.run(["cp", "-r", folder, copy], capture_output=True, check=False)
                check_copy(copy, acknowledged[:count])
        finally:
            stop.set()
            writer.join()


def check_copy(copy: Path, acknowledged: list[str]) -> None:
    try:
        vault = tv.open(copy, options=OPTIONS)
    except tv.IntegrityError:
        return
    with vault:
        assert vault.store.engine.report.kind == "rebuild"
        for key in acknowledged:
            assert bytes(vault["raw"].get(key)).startswith(key.encode())
        vault["raw"].put("after", b"x")


def test_a_copy_in_files_with_the_same_inode_numbers_is_rebuilt(tmp_path: Path) -> None:
    """A vault that was removed and unpacked from an archive may get the very inode numbers that it had, in the same
    boot; its `recent`, copied while it was written, must not be believed for that."""
    folder = tmp_path / "vault"
    copy = tmp_path / "copy"
    with tv.open(folder, options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put("a", b"1")
        shutil.copytree(folder / "recent", tmp_path / "recent")
        raw.put("b", b"2")
        shutil.copytree(folder, copy)
    # As an archiver would see it: `recent` was read earlier than the segments.
    shutil.rmtree(copy / "recent")
    shutil.copytree(tmp_path / "recent", copy / "recent")
    identity = json.loads((copy / IDENTITY_FILE).read_text())
    for name in ("recent", "index"):
        status = (copy / name / "data.mdb").stat()
        identity[name][:2] = [status.st_dev, status.st_ino]
    (copy / IDENTITY_FILE).write_text(json.dumps(identity))
    with tv.open(copy, options=OPTIONS) as vault:
        assert [info.key for info in vault["raw"].list()] == ["a", "b"]
        assert vault["raw"].get("b") == b"2"
        assert hashlib.md5(b"2").hexdigest() == vault["raw"].head("b").etag

"""The audit trail from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]
TRAIL = Path("data/audit/trail-00000001")


@pytest.fixture
def used(raw: Type) -> Type:
    """A command line beside a vault in which a little has happened."""
    for number in range(5):
        raw("put", "-", f"raw/{number}", stdin=b"x" * number)
    raw("rm", "raw/3")
    return raw


def test_a_sound_trail(used: Type) -> None:
    shown = used("audit", "verify").stdout
    assert shown.startswith("PASS")
    found = used("audit", "verify", "--objects", "--json").json
    assert found["ok"] is True
    assert found["records"] == 9
    assert found["findings"] == []
    assert found["head"].startswith("tickvault-head:")


def test_bytes_that_were_not_looked_at(used: Type) -> None:
    """It passed with exit status 0 when the keyring was gone."""
    used("bucket", "create", "sealed", "--encryption", "aes-256-gcm")
    used("put", "-", "sealed/k", stdin=b"x")
    assert used("audit", "verify", "--everything", "--json").json["ok"] is True
    keyring = Path("data/security/keyring.json")
    keyring.rename("ring")
    used("audit", "verify", "--objects")  # nothing encrypted is under object lock
    shown = used("audit", "verify", "--objects", "--everything", status=7)
    assert shown.stdout.startswith("INCOMPLETE  the bytes of 1 object version were not looked at; the trail itself")
    assert "the bytes of 1 were not looked at, since their keys cannot be used (" in shown.stdout
    assert "keyring.json: there is no keyring" in shown.stderr
    told = used("audit", "verify", "--objects", "--everything", "--json", status=7).json
    assert (told["ok"], told["findings"], told["not_looked_at"]) == (False, [], 1)
    assert "there is no keyring" in told["why_not"]


def test_what_differs_is_named_as_what_it_is(used: Type) -> None:
    """A user who was made past the trail was "1 object version"."""
    from tickvault.cli.audit import _differing
    from tickvault.objects.reconciling import Finding

    def told(*places: tuple[str, str, str]) -> str:
        return _differing([Finding("changed", *place, "") for place in places], "data")

    version, bucket, document = ("raw", "k", "1"), ("raw", "", ""), ("", "iam/user/u1", "")
    assert told(document) == "1 document in data is not what the audit trail says"
    assert told(bucket) == "1 bucket in data is not what the audit trail says"
    assert told(version, version) == "1 object version in data is not what the audit trail says"
    assert told(version, ("raw", "l", "2"), bucket, document) == (
        "2 object versions, 1 bucket and 1 document in data are not what the audit trail says"
    )
    assert told(("", "", "")) == "data is not the vault that the audit trail tells of"


def test_what_was_done_is_found(used: Type) -> None:
    records = used("audit", "query", "--json").json_lines
    assert [record["sequence"] for record in records] == list(range(1, 10))
    assert [record["action"] for record in records[2:]] == ["CreateBucket", *["PutObject"] * 5, "DeleteObject"]
    assert {record["door"] for record in records[2:]} == {"cli"}
    (deleted,) = used("audit", "query", "--action", "Delete*", "--json").json_lines
    assert deleted["key"] == "3"
    newest = used("audit", "query", "--newest", "-n", "2", "--bucket", "raw", "--json").json_lines
    assert [record["sequence"] for record in newest] == [9, 8]
    line = used("audit", "query", "--key", "4").stdout
    assert "PutObject" in line
    assert "raw/4" in line
    assert "4 B" in line
    assert used("audit", "query", "--since", "2100-01-01").stdout == ""
    assert len(used("audit", "query", "--until", "2100-01-01", "--category", "change", "--json").json_lines) == 7


def test_times_that_are_none(used: Type) -> None:
    assert "2026-01-05" in used("audit", "query", "--since", "yesterday", status=2).stderr


def test_a_flipped_bit_is_found_and_named(used: Type) -> None:
    used("audit", "verify")
    data = bytearray(TRAIL.read_bytes())
    data[len(data) // 2] ^= 1
    TRAIL.write_bytes(data)
    failed = used("audit", "verify", status=8)
    assert "FAIL" in failed.stdout
    assert "block" in failed.stderr


def test_a_trail_that_was_cut_short_is_found_with_the_head(used: Type, tmp_path: Path) -> None:
    head = used("audit", "head").stdout.strip()
    (tmp_path / "heads").write_text(f"something older\n{head}\n")
    assert used("audit", "verify", "--head", head).status == 0
    assert used("audit", "verify", "--head", f"@{tmp_path / 'heads'}").status == 0
    kept = {path.name: path.read_bytes() for path in Path("data/audit").iterdir() if path.is_file()}
    used("put", "-", "raw/later", stdin=b"x")
    later = used("audit", "head").stdout.strip()
    # An older copy put back, with everything in it: sound in itself.
    for path in Path("data/audit").iterdir():
        if path.is_file():
            path.unlink()
    for name, data in kept.items():
        (Path("data/audit") / name).write_bytes(data)
        (Path("data/audit") / name).chmod(0o600)
    failed = used("audit", "verify", "--head", later, status=8)
    assert "FAIL" in failed.stdout
    assert used("audit", "verify", "--head", "rubbish", status=2).stderr


def test_an_export_is_verified_without_this_store(used: Type, tmp_path: Path) -> None:
    head = used("audit", "head").stdout.strip()
    exported = used("audit", "export", "evidence", "--json").json
    assert exported["records"] == 9
    run = [sys.executable, "-I", "-S", "evidence/verify.py"]
    passed = subprocess.run([*run, "--head", head], capture_output=True, text=True)
    assert passed.returncode == 0, passed.stdout
    assert "PASS" in passed.stdout
    lines = Path("evidence/records.jsonl").read_text().splitlines()
    assert len(lines) == 9
    record = json.loads(lines[3])
    record["identity"] = "somebody else"
    lines[3] = json.dumps(record)
    Path("evidence/records.jsonl").write_text("\n".join(lines) + "\n")
    failed = subprocess.run(run, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "FAIL" in failed.stdout
    assert used("audit", "export", "evidence", status=4).stderr


def test_a_trail_that_is_not_there(raw: Type) -> None:
    assert raw("audit", "verify", "--vault", "nowhere", status=3).stderr


def test_shipping(used: Type, tmp_path: Path) -> None:
    assert "sinks.json" in used("audit", "ship", "check", status=3).stderr
    used("bucket", "create", "logs")
    settings = [{"name": "access", "type": "s3_access_log", "bucket": "logs", "prefix": "log/"}]
    (tmp_path / "sinks.json").write_text(json.dumps(settings))
    file = str(tmp_path / "sinks.json")
    assert used("audit", "ship", "check", "--sinks", file, "--json").json["sink"] == "access"
    used("audit", "ship", "run", "--sinks", file, "--until-sent")
    (status,) = used("audit", "ship", "status", "--sinks", file, "--json").json_lines
    assert status["error"] == ""
    # What is written into the log's own bucket is in the trail as well.
    assert status["acknowledged"] >= 10
    (log,) = [line for line in used("ls", "logs", "--recursive").stdout.splitlines() if "log/" in line]
    text = used("get", f"logs/{log.split()[-1].removeprefix('logs/')}", "-").stdout
    assert "REST.PUT.OBJECT" in text
    assert "tickvault" in used("audit", "ship", "template", "elastic").stdout
    (tmp_path / "bad.json").write_text('[{"name": "x", "type": "carrier-pigeon"}]')
    assert "carrier-pigeon" in used("audit", "ship", "check", "--sinks", str(tmp_path / "bad.json"), status=2).stderr


def test_the_key_is_rotated(used: Type) -> None:
    used("audit", "verify")
    old = Path("data/audit/signing.key").read_bytes()
    key_id = used("audit", "rotate-key", "--json").json["key_id"]
    assert Path("data/audit/signing.key").read_bytes() != old
    used("put", "-", "raw/after", stdin=b"x")
    shown = used("audit", "verify").stdout
    assert shown.startswith("PASS")
    assert key_id in shown


def test_a_backup_of_before_a_rotation_is_not_gone_on_with_in_silence(used: Type, tmp_path: Path) -> None:
    """The story: blocks that the retired key signed in a restored backup passed against the kept `signers.json`."""
    used("backup", "kept-safe")
    key_id = used("audit", "rotate-key", "--json").json["key_id"]
    used("put", "-", "raw/after", stdin=b"x")
    keys = str(tmp_path / "signers.json")
    shutil.copy("data/audit/signers.json", keys)
    first_block = json.loads(Path(keys).read_text())["signers"][1]["first_block"]
    assert used("audit", "verify", "--keys", keys).stdout.startswith("PASS")
    used("restore", "kept-safe", "again")
    for number in range(3):
        used("put", "-", f"raw/forged-{number}", "--vault", "again", stdin=b"x")
    assert used("audit", "verify", "--vault", "again").stdout.startswith("PASS")
    failed = used("audit", "verify", "--vault", "again", "--keys", keys, status=8).stdout
    assert f"block {first_block} " in failed
    assert f"must be signed by key {key_id}, which the keys you gave name from there on" in failed
    used("audit", "export", "evidence", "--vault", "again")
    run = [sys.executable, "-I", "-S", "evidence/verify.py"]
    assert subprocess.run(run, capture_output=True).returncode == 0
    done = subprocess.run([*run, "--keys", keys], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"must be signed by key {key_id}, which the keys you gave name from there on" in done.stdout


def test_a_past_month_is_handed_out_as_the_guide_says(used: Type) -> None:
    """The story: the guide's own line failed, with the status of a forgery, once the trail had gone on."""
    for number in range(3):
        with Path("heads.txt").open("a") as heads:
            heads.write(used("audit", "head").stdout)
        until = datetime.now(UTC).isoformat()
        used("put", "-", f"raw/later-{number}", stdin=b"x")
    shutil.copy("data/audit/signers.json", "signers.json")
    used("audit", "export", "evidence-2026-01", "--since", "2000-01-01", "--until", until)
    guide = (Path(__file__).parents[3] / "docs/how-to/audit-trail.md").read_text()
    (line,) = [line for line in guide.splitlines() if line.startswith("python3 evidence-2026-01/verify.py")]
    options = line.split()[2:]
    run = [sys.executable, "-I", "-S", "evidence-2026-01/verify.py"]
    done = subprocess.run([*run, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    newest = used("audit", "head").stdout.strip()
    done = subprocess.run([*run, "--keys", "signers.json", "--head", newest], capture_output=True, text=True)
    assert done.returncode == 2
    assert "ERROR  the head cannot be held against this bundle" in done.stdout
    assert "What is in the bundle holds" in done.stdout


def test_a_broken_trail_is_put_aside(used: Type) -> None:
    head = used("audit", "head").stdout.strip()
    refused = used("audit", "restart", "--reason", "none", status=2).stderr
    assert "sound, and goes on" in refused
    assert "--even-if-sound" in refused
    data = bytearray(TRAIL.read_bytes())
    data[-200] ^= 1
    TRAIL.write_bytes(data)
    used("audit", "verify", status=8)
    # What was done goes on being kept in the journal meanwhile.
    used("put", "-", "raw/meanwhile", stdin=b"x")
    assert used("audit", "restart", "--reason", " ", status=2).stderr
    moved = used("audit", "restart", "--reason", "a test broke it", "--json").json["moved_to"]
    assert (Path(moved) / TRAIL.name).read_bytes() == bytes(data)
    assert used("audit", "verify").stdout.startswith("PASS")
    records = used("audit", "query", "--json").json_lines
    restarted = next(record for record in records if record["action"] == "TrailRestarted")
    assert restarted["detail"]["reason"] == "a test broke it"
    assert head.split(":")[1] == restarted["detail"]["trail_id"]
    assert "meanwhile" in {record["key"] for record in records}
    assert "FAIL" in used("audit", "verify", "--head", head, status=8).stdout


def test_blocks_are_linked_with_sm3_by_choice(used: Type) -> None:
    used("audit", "verify")
    used("audit", "set-hash", "sm3")
    used("put", "-", "raw/after", stdin=b"x")
    assert used("audit", "verify").stdout.startswith("PASS")
    used("audit", "export", "evidence")
    passed = subprocess.run([sys.executable, "-I", "-S", "evidence/verify.py"], capture_output=True, text=True)
    assert passed.returncode == 0, passed.stdout
    used("audit", "set-hash", "md5", status=2)
    from tickvault.audit.block import HEADER_SIZE, parse_header

    raw = Path("evidence/blocks/trail-00000001").read_bytes()
    blocks = json.loads(Path("evidence/index.json").read_text())["blocks"]
    codes = [parse_header(raw[block["offset"] :][:HEADER_SIZE]).hash_code for block in blocks]
    assert codes == sorted(codes)
    assert len(set(codes)) == 2

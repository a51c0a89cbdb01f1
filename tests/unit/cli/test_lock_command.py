"""Object lock and legal holds from the command line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.objects.lock.retention import PRESETS

Type = Callable[..., Any]
DAY_NS = 86_400 * 10**9
FAR = "2100-01-01T00:00:00Z"
FAR_NS = 4_102_444_800 * 10**9
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "lock-objects.md"


@pytest.fixture
def orders(tickvault: Type) -> Type:
    """A command line beside a vault in ./data with a bucket `orders` that has object lock, and an object in it."""
    tickvault("bucket", "create", "orders", "--object-lock")
    tickvault("put", "-", "orders/1", stdin=b"bought")
    return tickvault


def test_a_bucket_with_object_lock(tickvault: Type) -> None:
    made = tickvault("bucket", "create", "orders", "--object-lock", "--json").json
    assert (made["versioning"], made["object_lock"], made["retention"]) == ("enabled", True, None)
    assert tickvault("bucket", "create", "plain", "--json").json["object_lock"] is False
    shown = tickvault("lock", "show", "orders").stdout
    assert "on, for good" in shown
    assert "none, unless the writer names one" in shown
    assert "off; turn it on" in tickvault("lock", "show", "plain").stdout
    assert "object_lock     yes" in tickvault("stat", "orders").stdout
    assert "locked" in tickvault("bucket", "list", "-l").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("retention", "default"),
    [
        ("sec-17a-4", {"mode": "COMPLIANCE", "years": 6, "preset": "sec-17a-4"}),
        ("GOVERNANCE:30", {"mode": "GOVERNANCE", "days": 30, "preset": None}),
        ("compliance:1", {"mode": "COMPLIANCE", "days": 1, "preset": None}),
    ],
)
def test_a_bucket_with_a_default(tickvault: Type, retention: str, default: dict[str, Any]) -> None:
    made = tickvault("bucket", "create", "orders", "--retention", retention, "--json").json
    assert made["object_lock"] is True
    assert made["retention"] == default
    before = time.time_ns()
    tickvault("put", "-", "orders/1", stdin=b"x")
    found = tickvault("lock", "show", "orders/1", "--json").json
    assert found["retention_mode"] == default["mode"]
    if "days" in default:
        assert 0 <= found["retain_until_ns"] - before - default["days"] * DAY_NS < 60 * 10**9


@pytest.mark.parametrize(
    "retention", ["sec", "COMPLIANCE", "COMPLIANCE:0", "NONE:3", "COMPLIANCE:-1", "GOVERNANCE:99999"]
)
def test_a_default_that_is_none(tickvault: Type, retention: str) -> None:
    tickvault("bucket", "create", "orders", "--retention", retention, status=2)
    tickvault("bucket", "create", "plain")
    assert tickvault("bucket", "list").stdout == "plain\n"


def test_enabling_it_later(tickvault: Type) -> None:
    tickvault("bucket", "create", "raw")
    assert "versioning" in tickvault("lock", "enable", "raw", status=2).stderr
    tickvault("bucket", "create", "kept", "--versioning")
    assert tickvault("lock", "enable", "kept", "--json").json == {
        "bucket": "kept",
        "object_lock": True,
        "retention": None,
    }
    said = tickvault("lock", "enable", "kept", "--preset", "mifid-ii").stderr
    assert "COMPLIANCE for 5 years (preset mifid-ii)" in said
    tickvault("lock", "enable", "kept", "--mode", "governance", "--days", "1")
    assert "GOVERNANCE for 1 day" in tickvault("lock", "show", "kept").stdout
    tickvault("lock", "enable", "kept", "--mode", "GOVERNANCE", "--years", "2")
    assert "GOVERNANCE for 2 years" in tickvault("lock", "show", "kept").stdout
    assert tickvault("lock", "enable", "kept", "--json").json["retention"] is None


@pytest.mark.parametrize(
    "options",
    [
        ["--mode", "GOVERNANCE"],
        ["--days", "3"],
        ["--mode", "GOVERNANCE", "--days", "3", "--years", "1"],
        ["--preset", "mifid-ii", "--days", "3"],
        ["--preset", "sox"],
        ["--mode", "LOOSE", "--days", "3"],
        ["--mode", "COMPLIANCE", "--years", "101"],
    ],
)
def test_enabling_it_with_what_is_no_default(orders: Type, options: list[str]) -> None:
    orders("lock", "enable", "orders", *options, status=2)
    assert orders("lock", "show", "orders", "--json").json["retention"] is None


def test_setting_extending_and_lifting_a_retention(orders: Type) -> None:
    assert "retention      none" in orders("lock", "show", "orders/1").stdout
    set_ = orders("lock", "set", "orders/1", "--mode", "GOVERNANCE", "--until", FAR, "--json").json
    assert (set_["retention_mode"], set_["retain_until_ns"]) == ("GOVERNANCE", FAR_NS)
    assert f"GOVERNANCE until {FAR}" in orders("lock", "show", "orders/1").stdout
    assert "retain_until    2100-01-01" in orders("stat", "orders/1").stdout
    orders("rm", "orders/1", "--version-id", set_["version_id"], status=6)
    orders("lock", "set", "orders/1", "--mode", "GOVERNANCE", "--until", "2099-12-30", status=6)
    orders("lock", "set", "orders/1", "--none", status=6)
    # A date is the end of that day.
    orders("lock", "set", "orders/1", "--mode", "GOVERNANCE", "--until", "2099-12-31")
    orders("lock", "set", "orders/1", "--mode", "governance", "--until", "2099-12-30", "--bypass-governance")
    assert orders("stat", "orders/1", "--json").json["retain_until_ns"] == FAR_NS - DAY_NS
    assert "no retention" in orders("lock", "set", "orders/1", "--none", "--bypass-governance").stderr
    orders("rm", "orders/1", "--version-id", set_["version_id"])


def test_compliance_yields_to_nobody(orders: Type) -> None:
    version_id = orders("lock", "set", "orders/1", "--mode", "COMPLIANCE", "--until", FAR, "--json").json["version_id"]
    for arguments in (
        ["lock", "set", "orders/1", "--none", "--bypass-governance"],
        ["lock", "set", "orders/1", "--mode", "GOVERNANCE", "--until", FAR, "--bypass-governance"],
        ["rm", "orders/1", "--version-id", version_id, "--bypass-governance"],
        ["rm", "-r", "orders", "--versions", "--bypass-governance"],
        ["rm", "-r", "orders", "--versions", "--force"],
        ["bucket", "delete", "orders", "--recursive"],
    ):
        assert "COMPLIANCE" in orders(*arguments, status=6).stderr
    assert orders("get", "orders/1").stdout == "bought"


def test_bypassing_governance_is_said(orders: Type) -> None:
    version_id = orders("lock", "set", "orders/1", "--mode", "GOVERNANCE", "--until", FAR, "--json").json["version_id"]
    assert "bypass" in orders("rm", "orders/1", "--version-id", version_id, status=6).stderr
    assert orders("rm", "orders/1", "--version-id", version_id, "--dry-run").stdout
    assert orders("get", "orders/1").stdout == "bought"
    orders("rm", "orders/1", "--version-id", version_id, "--bypass-governance")
    orders("get", "orders/1", status=3)


def test_putting_locked_objects(orders: Type) -> None:
    orders("put", "-", "orders/2", "--retention-mode", "COMPLIANCE", "--retain-until", FAR, "--legal-hold", stdin=b"x")
    found = orders("lock", "show", "orders/2", "--json").json
    assert (found["retention_mode"], found["retain_until_ns"], found["legal_hold"]) == ("COMPLIANCE", FAR_NS, True)
    orders("put", "-", "orders/3", "--legal-hold", stdin=bytes(400_000))
    assert orders("hold", "show", "orders/3").stdout == "on\n"
    orders("put", "-", "orders/4", "--retention-mode", "COMPLIANCE", stdin=b"x", status=2)
    orders("put", "-", "orders/4", "--retain-until", FAR, stdin=b"x", status=2)
    orders(
        "put", "-", "orders/4", "--retention-mode", "COMPLIANCE", "--retain-until", "2001-01-01", stdin=b"", status=2
    )
    orders("get", "orders/4", status=3)
    orders("bucket", "create", "plain")
    assert "object lock" in orders("put", "-", "plain/1", "--legal-hold", stdin=b"x", status=2).stderr


@pytest.mark.parametrize("text", ["tomorrow", "2100-01-01T00:00:00", "2100-13-01", "9999-12-31", "1960-01-01", ""])
def test_times_that_are_none(orders: Type, text: str) -> None:
    orders("lock", "set", "orders/1", "--mode", "GOVERNANCE", "--until", text, status=2)
    assert "retention      none" in orders("lock", "show", "orders/1").stdout


@pytest.mark.parametrize(
    "options", [[], ["--none", "--mode", "GOVERNANCE"], ["--mode", "GOVERNANCE"], ["--until", FAR]]
)
def test_setting_takes_a_retention_or_none(orders: Type, options: list[str]) -> None:
    orders("lock", "set", "orders/1", *options, status=2)
    orders("lock", "set", "orders", "--none", status=2)
    orders("lock", "show", "orders", "--version-id", "0", status=2)


def test_holds(orders: Type) -> None:
    placed = orders("hold", "place", "orders/1", "--json").json
    assert placed["legal_hold"] is True
    assert orders("hold", "show", "orders/1", "--json").json == placed
    assert "legal_hold      yes" in orders("stat", "orders/1").stdout
    assert "legal hold" in orders("rm", "orders/1", "--version-id", placed["version_id"], status=6).stderr
    # Of the version named, not of the current one.
    orders("put", "-", "orders/1", stdin=b"sold")
    assert orders("hold", "show", "orders/1").stdout == "off\n"
    assert orders("hold", "show", "orders/1", "--version-id", placed["version_id"]).stdout == "on\n"
    said = orders("hold", "release", "orders/1", "--version-id", placed["version_id"]).stderr
    assert placed["version_id"] in said
    orders("rm", "orders/1", "--version-id", placed["version_id"])
    orders("hold", "place", "orders/1", "--version-id", placed["version_id"], status=3)
    orders("hold", "place", "orders/none", status=3)
    orders("hold", "place", "orders", status=2)


def test_presets(tickvault: Type) -> None:
    lines = tickvault("lock", "presets").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert "17a-4(a)" in lines[0]
    rows = tickvault("lock", "presets", "--json").json_lines
    assert [(row["preset"], row["years"], row["years_max"]) for row in rows] == [
        ("sec-17a-4", 6, 6),
        ("cftc-1.31", 5, 5),
        ("mifid-ii", 5, 7),
        ("cn-securities", 20, 20),
    ]


def test_the_compliance_clock(tickvault: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    tickvault("bucket", "create", "raw")
    assert "has not been started" in tickvault("lock", "clock").stdout
    assert tickvault("lock", "clock", "--json").json == {"started": False}
    tickvault("bucket", "create", "orders", "--object-lock")
    found = tickvault("lock", "clock", "--json").json
    assert found["started"] is True
    assert abs(found["trusted_ns"] - time.time_ns()) < 60 * 10**9
    assert found["lag_ns"] == 0
    assert "jump              none" in tickvault("lock", "clock").stdout
    # Somebody sets the wall clock a year ahead.
    from tickvault.seam.clock import SystemClock

    monkeypatch.setattr(SystemClock, "now_ns", staticmethod(lambda: time.time_ns() + 365 * DAY_NS))
    told = tickvault("lock", "clock").stdout
    assert "jump              8760:00:00  the wall clock was set" in told
    assert "ahead of" in told
    assert abs(tickvault("lock", "clock", "--json").json["trusted_ns"] - time.time_ns()) < 60 * 10**9


def test_a_key_cannot_steer_the_terminal_from_here_either(orders: Type) -> None:
    orders("put", "-", "orders/a\x1b[2Jb", stdin=b"x")
    for arguments in (["hold", "place"], ["hold", "release"]):
        assert "\x1b" not in orders(*arguments, "orders/a\x1b[2Jb").stderr


def test_groups_by_themselves_show_their_help(tickvault: Type) -> None:
    assert "presets" in tickvault("lock").stdout
    assert "release" in tickvault("hold").stdout


def test_what_python_wrote_is_what_is_shown(orders: Type, folder: Any) -> None:
    with tv.open(folder / "data") as vault:
        vault["orders"].retain("1", None, "COMPLIANCE", FAR_NS + 5)
    assert orders("lock", "show", "orders/1", "--json").json["retain_until_ns"] == FAR_NS + 5


def page_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_python_blocks_of_the_page_run(folder: Path) -> None:
    """The one that needs a server is a test of the S3 door."""
    program = "\n".join(block for block in page_blocks("python") if "boto3" not in block)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "COMPLIANCE mode until" in done.stdout
    assert "None COMPLIANCE" in done.stdout
    assert "bypass" in done.stdout


def test_the_commands_of_the_page_run(tickvault: Type, folder: Path) -> None:
    tickvault("bucket", "create", "journal", "--versioning")
    (folder / "order.json").write_text("{}")
    lines = [shlex.split(line, comments=True) for block in page_blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 10
    for _, *arguments in lines:
        # The version that the page removes has another id each time.
        tickvault(*arguments, status=3 if arguments[0] == "rm" else 0)


def test_the_presets_of_the_page_are_those_there_are() -> None:
    text = PAGE.read_text()
    for one in PRESETS.values():
        assert f"| `{one.name}` | {one.lock.mode} | {one.lock.years}" in text
        assert one.rule.split(":")[0] in text

"""Settings: every wrong one is told with its name, the rule and what to do, and no secret is ever in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from trails import secret_file

from tickvault.audit.record import Category
from tickvault.audit.ship import config, reading
from tickvault.audit.ship.config import KNOWN, sink_from, sinks_from
from tickvault.errors import AccessDeniedError, InvalidInputError, NotFoundError, TickVaultError

HOW_TO = Path(__file__).parents[4] / "docs" / "how-to" / "ship-the-audit-trail.md"


def minimal(kind: str, folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = {"name": "one", "type": kind, "url": "https://siem.example.com/in"}
    match kind:
        case "splunk":
            values["token_file"] = secret_file(folder, "t")
        case "syslog":
            values["url"] = "tls://siem.example.com"
        case "s3_access_log":
            del values["url"]
            values["bucket"] = "logs"
    return values


def made(values: Any) -> config.SinkConfig:
    return sink_from(values, lambda bucket: lambda key, body: None)


@pytest.mark.parametrize("kind", KNOWN)
def test_the_least_that_has_to_be_set(tmp_path: Path, kind: str) -> None:
    one = made(minimal(kind, tmp_path))
    assert (one.name, one.sink.kind, one.options.categories) == ("one", kind, None)


@pytest.mark.parametrize("kind", KNOWN)
def test_every_known_setting_is_read_and_no_other(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()

    class Watched(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    made(Watched(minimal(kind, tmp_path)))
    assert set(KNOWN[kind]) - {"url_file"} == asked - {"url_file"}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_setting_is_documented(kind: str) -> None:
    page = HOW_TO.read_text()
    assert f'"type": "{kind}"' in page
    assert [name for name in KNOWN[kind] if f"`{name}`" not in page] == []


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"sink one: unknown settings tokenfile; known are name, type, .*secret_fi"
    ):
        made({**minimal("webhook", tmp_path), "tokenfile": "x"})
    with pytest.raises(InvalidInputError, match="type must be one of splunk, elastic, opensearch, syslog"):
        made({"name": "one", "type": "kafka"})


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", ".hidden", "-a", "a" * 64, "é", None, 7, "a\n", "a.json"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(InvalidInputError, match="name must be set to 1 to 63"):
        made({**minimal("webhook", tmp_path), "name": name})


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("webhook", {"url": "http://siem.example.com"}, "sink one: url 'http.*in the clear"),
        ("webhook", {"url": None}, "sink one: url: must be set"),
        ("webhook", {"url": 7}, "url: must be a text"),
        ("webhook", {"insecure": "yes"}, "insecure: must be true or false, was 'yes'"),
        ("webhook", {"timeout_s": 0}, r"timeout_s: must be seconds from 0\.1 to 600, was 0"),
        ("webhook", {"timeout_s": True}, "timeout_s: must be seconds"),
        ("webhook", {"timeout_s": float("nan")}, "timeout_s: must be seconds"),
        ("webhook", {"batch_count_max": 0}, "batch_count_max: must be a whole number from 1 to 10000, was 0"),
        ("webhook", {"batch_count_max": 1.5}, "batch_count_max: must be a whole number"),
        ("webhook", {"categories": []}, "categories: must be a list of change, read, refusal, system"),
        ("webhook", {"categories": "read"}, "categories: must be a list"),
        ("webhook", {"categories": [["read"]]}, "categories: must be a list"),
        ("webhook", {"body": "xml"}, "body: must be one of json, ndjson, was 'xml'"),
        ("webhook", {"client_cert_file": "/x"}, "must be set together"),
        ("webhook", {"url": "http://h", "insecure": True, "ca_file": "/x"}, "has no TLS, and ca_file"),
        ("splunk", {"token_file": None}, "token_file: must be set, to a file of mode 0600"),
        ("elastic", {"data_stream": "Upper"}, "data_stream: is not a name for an index"),
        ("elastic", {"index": "a/b"}, "index: is not a name for an index"),
        ("elastic", {"index": "a", "data_stream": "b"}, "set it or data_stream, not both"),
        ("elastic", {"username": "u"}, "username: must be set together with password_file"),
        ("opensearch", {"api_key_file": "/x"}, "unknown settings api_key_file"),
        ("syslog", {"url": "https://h"}, "must begin with one of tls://, tcp://"),
        ("syslog", {"url": "tcp://h"}, "in the clear"),
        ("syslog", {"url": "tls://h/path"}, "without a path"),
        ("syslog", {"enterprise_id": 0}, "enterprise_id: must be a whole number from 1"),
        ("syslog", {"app_name": "x" * 49}, "app_name: must be a text of 1 to 48"),
        ("syslog", {"hostname": "a\nb"}, "hostname: must be a text"),
        ("s3_access_log", {"bucket": None}, "bucket: must be set"),
        ("s3_access_log", {"prefix": 5}, "prefix: must be a text"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, kind: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        made({**minimal(kind, tmp_path), **changes})
    assert str(caught.value).startswith("sink one: ")


@pytest.mark.parametrize("values", [None, [], "x", 7, {}, {"name": "one"}, {"name": "one", "type": ["splunk"]}])
def test_what_is_no_sink_at_all(values: Any) -> None:
    with pytest.raises(InvalidInputError):
        made(values)


def test_a_list_of_sinks(tmp_path: Path) -> None:
    one, two = minimal("webhook", tmp_path), {**minimal("webhook", tmp_path), "name": "two"}
    assert [made.name for made in sinks_from([one, two])] == ["one", "two"]
    with pytest.raises(InvalidInputError, match="the name is taken"):
        sinks_from([one, one])
    with pytest.raises(InvalidInputError, match="must be a list"):
        sinks_from(one)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="at most 32"):
        sinks_from([one] * 33)


def test_options_are_taken(tmp_path: Path) -> None:
    values = {"categories": ["change", "refusal"], "batch_count_max": 7, "batch_bytes_max": 2048, "retry_wait_max_s": 9}
    values |= {"poll_interval_s": 0.5, "dead_letters_in_row_max": 3}
    options = made({**minimal("webhook", tmp_path), **values}).options
    assert options.categories == {Category.CHANGE, Category.REFUSAL}
    assert (options.limits.count_max, options.limits.bytes_max, options.backoff.cap_s) == (7, 2048, 9.0)
    assert (options.poll_interval_s, options.dead_letters_in_row_max) == (0.5, 3)


def test_a_secret_file_is_private_regular_and_one_line(tmp_path: Path) -> None:
    values = minimal("splunk", tmp_path)
    path = Path(values["token_file"])
    path.chmod(0o640)
    with pytest.raises(AccessDeniedError, match=r"others can read it \(mode 0640.*chmod 600"):
        made(values)
    path.chmod(0o600)
    for data in (b"", b"\n", b"a\nb\n", b"a\x00b", "ü".encode(), b"x" * 20_000):
        path.write_bytes(data)
        with pytest.raises(InvalidInputError, match=r"one line of printable ASCII|nothing else"):
            made(values)
    path.unlink()
    with pytest.raises(NotFoundError, match="there is no such file"):
        made(values)
    os.mkfifo(path, 0o600)
    with pytest.raises(InvalidInputError, match="must be a file"):
        made(values)


def test_no_message_and_no_representation_shows_a_secret(tmp_path: Path) -> None:
    values = minimal("splunk", tmp_path)
    secret_file(tmp_path, "hunter2-hunter2")
    one = made(values)
    assert "hunter2" not in repr(one) + repr(vars(one.sink))
    for changes in ({"url": "https://u:hunter2@h"}, {"url": "https://h/#hunter2"}):
        with pytest.raises(TickVaultError) as caught:
            made({**values, **changes})
        assert "hunter2" not in str(caught.value)
    url = secret_file(tmp_path, "http://h/hunter2", "url")
    with pytest.raises(InvalidInputError) as caught_url:
        made({"name": "one", "type": "webhook", "url_file": url})
    assert "hunter2" not in str(caught_url.value)


def test_a_long_value_is_shown_cut() -> None:
    settings = reading.Settings({"a": ["x" * 1000]}, "one", ["a"])
    with pytest.raises(InvalidInputError) as caught:
        settings.flag("a", True)
    assert len(str(caught.value)) < 200

"""Readers of syslog, CEF and S3 access logs, written from the formats' documents and apart from the writers."""

from __future__ import annotations

import re
from dataclasses import dataclass

# RFC 5424, section 6, the ABNF.
_PRINT = r"[\x21-\x7e]"
_HEADER = re.compile(
    rf"<(?P<pri>0|[1-9]\d?|1[0-8]\d|19[01])>(?P<version>[1-9]\d{{0,2}}) "
    rf"(?P<time>-|\d{{4}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{{1,6}})?"
    rf"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)) "
    rf"(?P<host>{_PRINT}{{1,255}}) (?P<app>{_PRINT}{{1,48}}) (?P<process>{_PRINT}{{1,128}}) (?P<id>{_PRINT}{{1,32}}) "
)
_NAME = r"[!#-<>-\\^-~]{1,32}"  # PRINTUSASCII without '=', SP, ']' and '"'
_PARAMETER = re.compile(rf' ({_NAME})="((?:[^"\\\]]|\\["\\\]])*)"', re.DOTALL)


@dataclass
class Message:
    priority: int
    time: str
    host: str
    app: str
    message_id: str
    element_id: str
    parameters: dict[str, str]
    text: str


def frames(data: bytes) -> list[bytes]:
    """RFC 5425, 4.3: MSG-LEN SP SYSLOG-MSG, MSG-LEN without a leading zero."""
    found, at = [], 0
    while at < len(data):
        match = re.compile(rb"([1-9]\d*) ").match(data, at)
        assert match is not None, data[at : at + 40]
        end = match.end() + int(match[1])
        assert end <= len(data), "the last frame is torn"
        found.append(data[match.end() : end])
        at = end
    return found


def read_message(data: bytes) -> Message:
    text = data.decode("utf-8")
    header = _HEADER.match(text)
    assert header is not None, text
    assert header["version"] == "1"
    rest = text[header.end() :]
    assert rest[0] == "["
    name = re.compile(_NAME).match(rest, 1)
    assert name is not None
    parameters, at = {}, name.end()
    while rest[at] != "]":
        parameter = _PARAMETER.match(rest, at)
        assert parameter is not None, rest[at:]
        parameters[parameter[1]] = re.sub(r'\\(["\\\]])', r"\1", parameter[2])
        at = parameter.end()
    assert rest[at + 1] == " "
    fields = header.groupdict()
    said = (fields["host"], fields["app"], fields["id"], name[0], parameters, rest[at + 2 :])
    return Message(int(fields["pri"]), fields["time"], *said)


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """Return the seven header fields and the extension of a line of CEF 0, character by character."""
    assert line.startswith("CEF:0|")
    assert "\n" not in line
    assert "\r" not in line
    header, field, at = [], "", len("CEF:")
    while len(header) < 7:
        character = line[at]
        if character == "\\":
            assert line[at + 1] in "\\|", "in the header only these two are escaped"
            field += line[at + 1]
            at += 1
        elif character == "|":
            header.append(field)
            field = ""
        else:
            field += character
        at += 1
    # A key is letters and digits behind a space, up to an equal sign that is not escaped.
    extension = line[at:]
    starts = list(re.finditer(r"(?:^| )([A-Za-z0-9_]+)=", extension))
    values = {}
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        raw = extension[start.end() : following.start() if following else len(extension)]
        assert start[1] not in values, "a key stands once"
        assert not re.search(r"(?<!\\)(?:\\\\)*=", raw), f"an equal sign is not escaped: {raw!r}"
        values[start[1]] = re.sub(r"\\([\\=rn])", lambda m: {"r": "\r", "n": "\n"}.get(m[1], m[1]), raw)
        assert not re.search(r"\\[^\\=rn]", re.sub(r"\\\\", "", raw)), f"an escape that does not exist: {raw!r}"
    return header, values


#: Amazon S3 User Guide, "Amazon S3 server access log format": the fields in their order.
S3_FIELDS = (
    *("bucket_owner", "bucket", "time", "remote_ip", "requester", "request_id", "operation", "key", "request_uri"),
    *("http_status", "error_code", "bytes_sent", "object_size", "total_time", "turn_around_time", "referer"),
    *("user_agent", "version_id", "host_id", "signature_version", "cipher_suite", "authentication_type"),
    *("host_header", "tls_version", "access_point_arn", "acl_required", "source_region"),
)


def read_access_log(line: str) -> dict[str, str]:
    """Split a line at spaces, outside of brackets and quotes."""
    fields, at = [], 0
    while at <= len(line):
        if line[at : at + 1] in ('"', "["):
            end = line.index({'"': '"', "[": "]"}[line[at]], at + 1)
            fields.append(line[at + 1 : end])
            at = end + 2
        else:
            end = line.find(" ", at)
            end = len(line) if end < 0 else end
            fields.append(line[at:end])
            at = end + 1
    assert all(fields), "an empty field must be a hyphen"
    return dict(zip(S3_FIELDS, fields, strict=True))

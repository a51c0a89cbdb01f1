"""The bench signs with code of its own; botocore is the judge."""

from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tickvault.bench.signing import RequestSigner


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("GET", "/bucket/XCME/ES/2026-01-05/00000001", None, None),
        ("GET", "/bucket/a key with spaces+and=signs/é", None, None),
        ("GET", "/bucket", {"list-type": "2", "max-keys": "1000", "start-after": "XCME/ES/1"}, None),
        ("PUT", "/bucket/key", None, b"some bytes"),
    ],
)
def test_signature_equals_botocores(method, path, query, body):
    now = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    with patch("tickvault.bench.signing.datetime") as clock:
        clock.now.return_value = now
        signer = RequestSigner("AKIDEXAMPLE", "a-secret-key", "127.0.0.1:9000")
    rendered = signer.render(method, path, query=query, body=body)
    head, _, sent = rendered.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])

    target = lines[0].split(" ")[1]
    request = AWSRequest(method=method, url=f"http://127.0.0.1:9000{target}", data=body or b"")
    judge = S3SigV4Auth(Credentials("AKIDEXAMPLE", "a-secret-key"), "s3", "us-east-1")
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    request.context["payload_signing_enabled"] = True
    with patch("botocore.auth.get_current_datetime", return_value=now):
        judge.add_auth(request)
    assert headers["Authorization"] == request.headers["Authorization"]
    assert headers["X-Amz-Content-SHA256"] == request.headers["X-Amz-Content-SHA256"]
    assert sent == (body or b"")
    if body is not None:
        assert headers["Content-Length"] == str(len(body))

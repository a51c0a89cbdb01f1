"""A served vault for conformance tests: one worker on a free port, a fresh bucket for each test.

The server runs in a process of its own, as it does for a user, so that it and a client share no interpreter.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import boto3
import botocore.config
import pytest

_SERVER = """
import json, sys
from tickvault.doors.s3.server import serve

def ready(endpoint):
    with open(endpoint.credentials_path) as file:
        pair = json.load(file)
    print(json.dumps([endpoint.url, pair["access_key"], pair["secret_key"]]), flush=True)

serve(sys.argv[1], port=0, workers=1, grace_s=2.0, on_ready=ready, **json.loads(sys.argv[2]))
"""


@dataclass(frozen=True)
class Endpoint:
    """Where a vault is served, and with which key pair."""

    url: str
    access_key: str
    secret_key: str
    path: str


def start_server(path, **options):
    """Serve a vault; return (process, endpoint)."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(path), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the server ended with status {process.wait()} before it was ready")
    return process, Endpoint(*json.loads(line), str(path))


def stop_server(process):
    """Stop a server as Ctrl-C does."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    process, endpoint = start_server(tmp_path_factory.mktemp("vault") / "data")
    yield endpoint
    stop_server(process)


@pytest.fixture(scope="session")
def open_endpoint(tmp_path_factory):
    """An endpoint that answers unsigned requests where a canned ACL allows it."""
    process, endpoint = start_server(tmp_path_factory.mktemp("open") / "data", allow_anonymous=True)
    yield endpoint
    stop_server(process)


def make_client(endpoint, **options):
    """Return a boto3 client that never repeats a request, so that each answer is seen."""
    config = {
        "signature_version": "s3v4",
        "retries": {"total_max_attempts": 1},
        "connect_timeout": 5,
        "read_timeout": 60,
        "s3": {"addressing_style": "path"},
        **options,
    }
    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name="us-east-1",
        config=botocore.config.Config(**config),
    )


@pytest.fixture(scope="session")
def s3(endpoint):
    return make_client(endpoint)


_numbers = itertools.count(1)


@pytest.fixture
def bucket(s3):
    """The name of a new, empty bucket; what is left in it goes away with the vault, after the session."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned(s3, bucket):
    """The name of a new bucket that keeps versions."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


class Refusal:
    """What a refused call was answered."""

    def __init__(self, response):
        self.status = response["ResponseMetadata"]["HTTPStatusCode"]
        self.code = response["Error"]["Code"]
        self.headers = response["ResponseMetadata"]["HTTPHeaders"]
        self.response = response

    def __eq__(self, other):
        return (self.status, self.code) == other

    def __repr__(self):
        return f"({self.status}, {self.code!r}) {self.response['Error']}"


def refused(call, /, **arguments):
    """Make a call that must be refused; the result compares equal to (status, code)."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return Refusal(caught.value.response)


@pytest.fixture(scope="session", name="refused")
def _refused():
    return refused


@pytest.fixture(scope="session")
def client_for():
    return make_client


@pytest.fixture(scope="session")
def send_signed(endpoint):
    """A function that signs and sends one request byte for byte; it returns (status, headers, body)."""
    import http.client
    import urllib.parse

    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = S3SigV4Auth(Credentials(endpoint.access_key, endpoint.secret_key), "s3", "us-east-1")

    def send(method, path, body=b"", headers=None):
        request = AWSRequest(method, endpoint.url + path, headers=dict(headers or {}), data=body)
        signer.add_auth(request)
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(endpoint.url).netloc, timeout=30)
        connection.request(method, path, body, {name: str(value).encode() for name, value in request.headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    return send

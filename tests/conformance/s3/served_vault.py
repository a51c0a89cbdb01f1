"""What the tests of the real clients share: finding a client, serving a vault by the command line, awkward keys.

The server of `serving` is started as a user starts it, by `tickvault serve`; its options are those of the command.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import tickvault as tv

#: More than ten pages of a listing, and not a whole number of them.
MANY_COUNT = 10_500

#: Names that a client must encode, and a server must decode exactly once. They can be names of files too.
AWKWARD_NAMES = (
    "a b  c",
    "plus+plus",
    "percent%20sign%",
    "umlaut-äöü-€-漢字-😀",
    "quote'\"<&>",
    "brackets[1]{2}(3)",
    "dots..and~tilde!",
    "equals=ampersand&question?hash#colon:at@dollar$semicolon;comma,",
)

_TICKVAULT = "from tickvault.cli import main; main()"


@dataclass(frozen=True)
class Served:
    """A server started by the command line."""

    url: str
    host: str
    port: int
    access_key: str
    secret_key: str
    path: str
    pid: int


@contextmanager
def serving(path, *options):
    """Run ``tickvault serve`` on a vault, with one worker on a free port; give a `Served`."""
    words = path.parent / f"{path.name}.stderr"
    with words.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _TICKVAULT, "serve", str(path), "--port=0", "--workers=1", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        line = process.stdout.readline()
        assert line, words.read_text()
        facts = json.loads(line)
        pair = json.loads(Path(facts["credentials_file"]).read_text())
        yield Served(
            facts["endpoint"],
            facts["host"],
            facts["port"],
            facts["access_key"],
            pair["secret_key"],
            str(path),
            process.pid,
        )
        assert process.poll() is None, words.read_text()
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
    # A server that met something nobody foresaw says so at length.
    assert "Traceback" not in words.read_text()


def program(name, package):
    """Return the path of a client; Debian's, where another one of the same name comes first on the path."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin") or shutil.which(name)
    if found is None:
        pytest.skip(f"NOT TESTED: {name} is not installed; on Debian: apt-get install {package}")
    return found


def plain_environment(home, **variables):
    """Return an environment for a client that takes nothing from the settings of whoever runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "RCLONE_", "PYTHON", "VIRTUAL_ENV"))
        and "proxy" not in name.lower()
        and "_CA_" not in name
        and not name.startswith("SSL_")
    }
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", **variables}


@dataclass(frozen=True)
class Printed:
    """What a client printed."""

    bytes: bytes
    lines: list[str]
    stderr: str


def client(*command, environment):
    """Return a function that runs a client with more arguments and returns what it printed.

    With `status` other than 0 the client has to fail.
    """

    def run(*arguments, status=0, stdin=b""):
        done = subprocess.run(
            [*command, *map(str, arguments)],
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        stdout, stderr = done.stdout, done.stderr.decode()
        assert (done.returncode == 0) == (status == 0), f"{arguments}: {done.returncode}\n{stdout!r}\n{stderr}"
        return Printed(stdout, stdout.decode("utf-8", "replace").splitlines(), stderr)

    return run


def presenting(served, **changed):
    """Return a `Served` that a client takes for it, with another url or key pair."""
    return SimpleNamespace(
        **{"url": served.url, "access_key": served.access_key, "secret_key": served.secret_key, **changed}
    )


def tree_of_files(root, large_size):
    """Fill a new folder with files: empty, small, of several parts, in folders, with awkward names; return it."""
    for folder in ("", "sub", "sub/a b+c%20"):
        (root / folder).mkdir(exist_ok=True)
    (root / "empty").write_bytes(b"")
    (root / "small.csv").write_bytes(b"ts_event,price\n")
    (root / "sub" / "large.bin").write_bytes(some_bytes(large_size))
    for number, name in enumerate(AWKWARD_NAMES):
        (root / "sub" / name).write_bytes(b"%d" % number)
    (root / "sub" / "a b+c%20" / "ü").write_bytes(b"deep")
    return root


def files_of(root):
    """Return the relative paths of all files below a folder, in the order of S3's keys."""
    return sorted((str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()), key=str.encode)


def self_made_certificate(folder):
    """Make a certificate for localhost and 127.0.0.1 that nobody else has signed; return it and its key as paths."""
    certificate, key = folder / "server.crt", folder / "server.key"
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def fill(path, bucket, keys):
    """Put empty objects into a bucket of a vault that is being served, without asking its server."""
    with tv.open(path) as vault:
        vault[bucket].put_many([(key, b"") for key in keys])


@dataclass(frozen=True)
class Answer:
    """What a plain HTTP client, one that knows nothing of S3, was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url, method="GET", body=None, **headers):
    """Make a request with urllib alone; header names are given with underscores."""
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    request.method = method
    try:
        answer = _opener.open(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


def some_bytes(size, seed=1):
    """Return bytes in which every place can be told from every other."""
    import random

    return random.Random(seed).randbytes(size)

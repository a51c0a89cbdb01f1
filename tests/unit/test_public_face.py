"""The names that others script against."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tickvault as tv
from tickvault import errors

README = Path(__file__).parents[2] / "README.md"


def test_all_is_right_and_sorted() -> None:
    assert sorted(tv.__all__, key=lambda name: (not name[0].isupper(), name)) == tv.__all__
    assert len(set(tv.__all__)) == len(tv.__all__)
    for name in tv.__all__:
        assert getattr(tv, name) is not None
    public = {
        name
        for name, value in vars(tv).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }
    assert public == set(tv.__all__) - {"__version__"}


def test_every_error_is_there_and_has_an_exit_status() -> None:
    found = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, BaseException)
    }
    assert found <= set(tv.__all__)
    for name in found:
        kind = getattr(tv, name)
        assert issubclass(kind, tv.TickVaultError)
        assert errors.exit_code(kind("words")) > 0
        assert str(kind("words")) == "words"
        assert kind.__doc__
    assert issubclass(tv.NotFoundError, KeyError)
    assert issubclass(tv.InvalidInputError, ValueError)
    assert issubclass(tv.StorageError, OSError)
    assert len(set(errors.EXIT_CODES.values())) == len(errors.EXIT_CODES)


def test_every_class_of_an_error_is_caught_as_its_parent() -> None:
    for child, parent in (
        (tv.PreconditionFailedError, tv.ConflictError),
        (tv.NotEmptyError, tv.ConflictError),
        (tv.BucketNotFoundError, tv.NotFoundError),
        (tv.VersionNotFoundError, tv.NotFoundError),
        (tv.UploadNotFoundError, tv.NotFoundError),
        (tv.DiskFullError, tv.StorageError),
        (tv.CredentialRefusedError, tv.AccessDeniedError),
        (tv.CustomerKeyError, tv.InvalidInputError),
    ):
        assert issubclass(child, parent)


def test_the_contract_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python that others script against, line by line."""
    monkeypatch.chdir(tmp_path)
    data = b"0123456789"
    with tv.open("data") as vault:
        vault.create_bucket("raw", versioning=False, durability="strict")
        raw = vault.bucket("raw")
        assert vault["raw"].name == raw.name
        info = raw.put("ES/1", data, metadata={"venue": "XCME"}, content_type=None, if_none_match="*")
        assert info.etag == "781e5e245d69b566979b86e28d23f2c7"
        assert info.version_id == "null"
        assert info.size == 10
        assert info.sequence > 0
        assert info.modified_ns > 1_600_000_000 * 10**9
        blob = raw.get("ES/1", start=0, end=None)
        assert bytes(memoryview(blob)) == bytes(blob) == data
        assert blob.info == raw.head("ES/1")
        raw.put_many([("k1", b"one"), ("k2", b"two")])
        assert [bytes(found) for found in raw.get_many(["k1", "k2"])] == [b"one", b"two"]
        raw.head("ES/1")
        raw.copy("ES/1", "ES/2")
        raw.delete("ES/1")
        (left,) = list(raw.list(prefix="ES/", delimiter="/", start_after=""))
        assert isinstance(left, tv.ObjectInfo)
        assert left.key == "ES/2"
        with pytest.raises(tv.ConflictError):
            raw.put("k1", b"", if_none_match="*")
    with pytest.raises(tv.NotFoundError):
        tv.open("elsewhere", create=False)
    tv.open("data", create=False).close()


def test_the_readme_example_runs_as_written(tmp_path: Path) -> None:
    match = re.search(r"## From Python\n+```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None, "the README has no Python example"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", match.group(1)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "['ES/1', 'ES/2', 'ES/3']" in done.stdout
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("name", ["tickvault.vault", "tickvault.objects.lifecycle_rules"])
def test_examples_in_docstrings_run(name: str) -> None:
    __import__(name)
    result = doctest.testmod(sys.modules[name])
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_is_light() -> None:
    """The server's libraries are not loaded for who only reads."""
    program = "import sys, tickvault; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numba", "uvloop", "httptools", "click", "boto3", "defusedxml", "asyncio"} & set(loaded)

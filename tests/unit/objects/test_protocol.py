"""A bucket is a `Store`, in types and at run time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from tickvault.objects.bucket import Bucket
from tickvault.objects.protocol import Store

VERBS = ["copy", "delete", "get", "get_ranges", "head", "list", "put", "versions"]


def as_store(bucket: Bucket) -> Store:
    # The type checker reads this line; `test_the_type_checker_agrees` runs it.
    return bucket


def test_at_run_time(bucket: Bucket) -> None:
    assert isinstance(as_store(bucket), Store)
    assert not isinstance(object(), Store)


def test_the_protocol_is_these_verbs_and_each_is_documented() -> None:
    found = {name: member for name, member in vars(Store).items() if inspect.isfunction(member) and name[0] != "_"}
    assert sorted(found) == VERBS
    assert all((member.__doc__ or "").strip() for member in found.values())


@pytest.mark.parametrize("verb", VERBS)
def test_a_bucket_takes_what_the_protocol_promises(verb: str) -> None:
    """Same names, order, kinds and defaults; a bucket may take more keywords."""
    promised = inspect.signature(getattr(Store, verb)).parameters
    taken = inspect.signature(getattr(Bucket, verb)).parameters
    for name, parameter in promised.items():
        assert (taken[name].kind, taken[name].default) == (parameter.kind, parameter.default), name
    for name in taken.keys() - promised.keys():
        assert taken[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert taken[name].default is not inspect.Parameter.empty


def test_the_type_checker_agrees(tmp_path: Path) -> None:
    run: Callable[[list[str]], tuple[str, str, int]] = pytest.importorskip("mypy.api").run
    program = tmp_path / "program.py"
    program.write_text(
        "from tickvault.objects.bucket import Bucket\n"
        "from tickvault.objects.protocol import Store\n"
        "def as_store(bucket: Bucket) -> Store:\n"
        "    return bucket\n"
        "def not_a_store() -> Store:\n"
        "    return object()\n"
    )
    out, _, _ = run([str(program), "--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent"])
    lines = [line for line in out.splitlines() if ": error:" in line]
    assert len(lines) == 1, out
    assert ":6: error: Incompatible return value" in lines[0]

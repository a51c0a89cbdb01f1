"""A store to load reference data into, and files to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.market.reference import Reference
from tickvault.objects.bucket import Bucket


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Bucket]:
    with tv.open(tmp_path / "data") as vault:
        yield vault.create_bucket("library-x")


@pytest.fixture
def reference(store: Bucket) -> Reference:
    return Reference(store)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write

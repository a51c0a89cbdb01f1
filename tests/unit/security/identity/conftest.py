from __future__ import annotations

from collections.abc import Callable

import pytest
from identity_setting import READ, ROOT, WRITE, SetClock, compile_policy
from memory_documents import MemoryDocuments

from tickvault.security.identity import FileSealer, Identities, Limits

Make = Callable[..., Identities]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def documents() -> MemoryDocuments:
    return MemoryDocuments()


@pytest.fixture
def make(clock: SetClock, documents: MemoryDocuments) -> Make:
    """Make handles on one vault; two of them are two processes."""

    def make(
        *, key: bytes = b"k" * 32, vault_id: str = "one", limits: Limits | None = None, on: MemoryDocuments = documents
    ) -> Identities:
        return Identities(
            on,
            FileSealer(key),
            compile_policy,
            vault_id=vault_id,
            root=ROOT,
            limits=limits,
            clock=clock,
            built_in_policies={"reader": READ, "administrator": WRITE},
        )

    return make


@pytest.fixture
def identities(make: Make) -> Identities:
    return make()

"""What all chapters share: the vault, its libraries, the scale, and what could not be measured.

Invariants: everything lies in the benchmark's own folder; a library's name is used once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from tickvault.bench.places import MIB
from tickvault.bench.setting import Setting
from tickvault.market.journal.place import Place
from tickvault.market.library import Library
from tickvault.objects.bucket import Bucket
from tickvault.objects.model import Durability
from tickvault.objects.store import ObjectStore, open_store

VAULT = "vault"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is stored, and for how long it is measured."""

    rounds: int
    seconds: float
    """Of a turn that is repeated."""
    simulated_rows: int
    """Of the flow that goes into the vault, and of what stands in for real files."""
    itch_symbols: int
    append_count: int
    """Appends of 100 rows, the many."""
    rival_append_count: int
    live_rows: int
    """Rows that are paced to a subscriber, in a round."""
    free_bytes_min: int


FULL = Scale(5, 0.3, 2_000_000, 500, 10_000, 1_000, 300, 6144 * MIB)
QUICK = Scale(2, 0.1, 400_000, 50, 1_000, 50, 100, 2048 * MIB)


@dataclass(slots=True)
class Held:
    """A library, and the bucket that it lives in."""

    library: Library
    store: Bucket
    place: Place


@dataclass(slots=True)
class Stage:
    """Where one run takes place."""

    setting: Setting
    scale: Scale
    data: str | None
    """Folder of real market data; None if there is none."""
    vault: ObjectStore
    _made: dict[str, Held] = field(default_factory=dict)

    @classmethod
    def begin(cls, setting: Setting, scale: Scale, data: str | None) -> Stage:
        """Make the vault; it is closed with the setting."""
        vault = open_store(os.path.join(setting.folder, VAULT))
        setting.stack.callback(vault.close)
        return cls(setting, scale, data, vault)

    def library(self, name: str, durability: Durability = "strict") -> Held:
        """Return a library, making it."""
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = held_library(self.vault, name, durability)
            self.setting.stack.callback(found.library.close)
        return found

    def new_library(self, durability: Durability = "strict") -> Held:
        """Return a library that was not there before."""
        return self.library(f"made-{len(self._made)}", durability)

    def note(self, words: str) -> None:
        """Tell the reader of the figures something."""
        self.setting.report.notes.append(words)

    def skip(self, what: str) -> None:
        """Note what could not be measured without real files."""
        self.note(
            f"not measured: {what}; there are no files of it here: --data (or TICKVAULT_MARKET_DATA) names the folder "
            "of real market data"
        )


def held_library(vault: ObjectStore, name: str, durability: Durability | None = None) -> Held:
    """Return a library of an open vault, made if `durability` is said: what ``vault.library`` does, a room below it."""
    bucket = f"library-{name}"
    store = vault.bucket(bucket) if durability is None else vault.create_bucket(bucket, durability=durability)
    engine = vault.engine
    place = Place(
        vault.path,
        store.bucket_id,
        engine.disk,
        engine.clock,
        engine.host,
        lambda: store.info.durability == "strict",
        engine.check_writable,
        engine.control.poison,
    )
    return Held(Library.open(store, name, place), store, place)

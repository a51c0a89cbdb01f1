"""Whatever somebody puts into a bundle, its verifier ends with a reason and never with a traceback.

The story: a range of time that no clock knows, an infinite sequence and the like ended it in the middle.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from audit_made import SIGNER, T0, opened, record
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tickvault.audit
from tickvault.audit.export import export

Bundle = Path

_SPEC = importlib.util.spec_from_file_location(
    "verifier_of_anything", Path(tickvault.audit.__file__).parent / "standalone" / "verify_bundle.py"
)
VERIFIER: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(VERIFIER)

#: Fields of a block's header, in order, with their sizes; the CRC and what follows are made again.
FIELDS = (8, 2, 1, 1, 1, 1, 2, 8, 8, 4, 4, 8, 8, 8, 16, 16, 32, 64)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 60),
    st.sampled_from([10**30, -(10**30), 2**63, -(2**63) - 1, 2**64, 83.0, float("inf"), float("nan"), -0.0, 10**400]),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=[]), max_size=40),
    st.sampled_from(["", "\n", "\x1b[2J", "\ud800", "00" * 16, "zz" * 32, "tickvault-head:00:1:²:00:00", "../x", "/x"]),
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("of-anything")
    with opened(folder / "trail") as writer:
        for number in range(3):
            writer.append([record(number * 2), record(number * 2 + 1)])
    export(str(folder / "trail"), str(folder / "bundle"), since_ns=T0, until_ns=T0 + 10, formats=["jsonl"])
    assert outcome(folder / "bundle")[0] == 0
    return folder / "bundle"


def outcome(bundle: Bundle, *options: str) -> tuple[int, str]:
    """Run the verifier; return its status and what it printed."""
    out = io.StringIO()
    with redirect_stdout(out):
        status = VERIFIER.main([str(bundle), *options])
    text = out.getvalue()
    assert text.split(" ")[0] == {0: "PASS", 1: "FAIL", 2: "ERROR"}[status], text
    assert text.isascii()
    assert len(text.splitlines()) == 1 or status != 1
    return status, text


@contextmanager
def changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """Have a file changed for a while, and the manifest made to fit it."""
    manifest = path.parent / "manifest.json" if path.name.endswith(".json") else path.parents[1] / "manifest.json"
    whole, manifest_whole = path.read_bytes(), manifest.read_bytes()
    try:
        path.write_bytes(change(whole))
        if path != manifest:
            fitting = json.loads(manifest_whole)
            raw = path.read_bytes()
            name = str(path.relative_to(manifest.parent))
            fitting["files"][name] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
            manifest.write_text(json.dumps(fitting))
        yield
    finally:
        path.write_bytes(whole)
        manifest.write_bytes(manifest_whole)


def places_in(document: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value of a document."""
    yield before
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in pairs:
        yield from places_in(value, (*before, key))


def with_value(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return document


@pytest.mark.parametrize("name", ["manifest.json", "keys.json", "index.json"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_in_a_document(bundle: Bundle, name: str, data: st.DataObject) -> None:
    document = json.loads((bundle / name).read_bytes())
    place = data.draw(st.sampled_from(list(places_in(document))))
    text = json.dumps(with_value(document, place, data.draw(anything)))
    with changed(bundle / name, lambda whole: text.encode()):
        outcome(bundle)
    if name == "keys.json":
        # As the list that an auditor brings along.
        (bundle.parent / "brought.json").write_text(text)
        outcome(bundle, "--keys", str(bundle.parent / "brought.json"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since_ns", -(10**30)),
        ("until_ns", 10**30),
        ("first_sequence", float("inf")),
        ("last_sequence", float("nan")),
        ("first_block", True),
        ("records", 83.0),
        ("files", {"\0": {"size": 0, "sha256": "00" * 32}}),
        ("files", {"blocks/": {"size": 0, "sha256": "00" * 32}}),
        ("trail_head", "tickvault-head:00:" + "9" * 5000 + ":1:00:00"),
    ],
)
def test_values_of_the_manifest_that_nobody_wrote(bundle: Bundle, name: str, value: Any) -> None:
    document = json.loads((bundle / "manifest.json").read_bytes()) | {name: value}
    with changed(bundle / "manifest.json", lambda whole: json.dumps(document).encode()):
        status, text = outcome(bundle)
    assert status == 1
    assert "is not of its form" not in text or "Infinity" in text or "NaN" in text


def sealed(header: bytes, body: bytes) -> bytes:
    """Return a block that the trail's own key signs, whatever its header says."""
    whole = header[:192] + zlib.crc32(header[:192]).to_bytes(4, "little") + bytes(4) + body
    digest = hashlib.sha256(whole).digest()
    signature = SIGNER.sign(digest)
    return whole + digest + len(signature).to_bytes(4, "little") + signature


@settings(max_examples=250, deadline=None)
@given(data=st.data(), number=st.integers(0, 2), resized=st.booleans())
def test_any_header_and_body_under_the_right_signature(
    bundle: Bundle, data: st.DataObject, number: int, resized: bool
) -> None:
    entry = json.loads((bundle / "index.json").read_bytes())["blocks"][number]
    path = bundle / entry["file"]
    whole = path.read_bytes()
    block = whole[entry["offset"] :][: entry["size"]]
    header, body = bytearray(block[:200]), bytearray(block[200:-100])
    if data.draw(st.booleans()):
        field = data.draw(st.integers(0, len(FIELDS) - 1))
        start = sum(FIELDS[:field])
        size = FIELDS[field]
        small = st.integers(0, 9).map(lambda value: value.to_bytes(size, "little"))
        header[start : start + size] = data.draw(st.binary(min_size=size, max_size=size) | small)
    else:
        start = data.draw(st.integers(0, len(body) - 1))
        end = data.draw(st.integers(start, min(start + 40, len(body))))
        body[start:end] = data.draw(st.binary(max_size=40))
        if resized:
            header[36:40] = len(body).to_bytes(4, "little")
    made = sealed(bytes(header), bytes(body))
    fits = made == block
    with changed(path, lambda raw: raw[: entry["offset"]] + made + raw[entry["offset"] + entry["size"] :]):
        assert outcome(bundle)[0] == (0 if fits else 1)


@settings(max_examples=60, deadline=None)
@given(line=st.one_of(st.text(max_size=60), st.text("0123456789abcdef:²x", max_size=60).map("tickvault-head:".__add__)))
@example(line="tickvault-head:" + "00" * 16 + ":1:1:00:0")
@example(line="tickvault-head:" + "00" * 16 + ":²:1:00:00")
def test_any_head(bundle: Bundle, line: str) -> None:
    if line.startswith(("-", "@")):
        return
    assert outcome(bundle, "--head", line)[0] == 1

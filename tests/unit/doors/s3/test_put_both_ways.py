"""A PUT whose body is there is answered without a task, and one whose body still arrives through a writer: whatever
the request says, both must come to the same answer and leave the same object."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tickvault
from tickvault.doors.s3.authorization.signer import Signers, root_signer
from tickvault.doors.s3.body import RequestBody
from tickvault.doors.s3.checksums import BodyChecks
from tickvault.doors.s3.message import Deferred, Request, Response
from tickvault.doors.s3.router import Context, route

ROOT = root_signer("AK", "secret")
BODY = bytes(range(256)) * 16
MD5 = base64.b64encode(hashlib.md5(BODY).digest()).decode()
SHA256 = hashlib.sha256(BODY).hexdigest()
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
CORS = b"""<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>
</CORSRule></CORSConfiguration>"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    path: Path = tmp_path_factory.mktemp("both") / "vault"
    with tickvault.open(str(path)) as vault:
        for name in ("plain", "versioned"):
            vault.create_bucket(name, durability="relaxed")
        vault.store.bucket("versioned").set_versioning("enabled")
        found = Context(store=vault.store, find=Signers(lambda access_key: None).find)
        answer, _ = asyncio.run(ask(found, "plain", "", {}, body=CORS, query={"cors": ""}, late=False))
        assert answer.status == 200, answer
        yield found


async def ask(
    context: Context,
    bucket: str,
    key: str,
    headers: dict[str, str],
    *,
    late: bool,
    body: bytes = BODY,
    query: dict[str, str] | None = None,
    length: int | None = None,
    sha256: str | None = None,
) -> tuple[Response, bool]:
    """Return the answer to a PUT, and whether it was deferred to a commit."""
    checks = BodyChecks.from_headers(headers)
    incoming = RequestBody(
        len(body) if length is None else length, None, sha256, checks, buffer_max=1 << 20, size_max=1 << 30
    )
    request = Request("PUT", f"/{bucket}/{key}", bucket, key, query or {}, headers, incoming, "AK", "ID", signer=ROOT)

    def arrive() -> None:
        incoming.feed(body[:1000])
        incoming.feed(body[1000:])
        incoming.end()

    if not late:
        arrive()
    answer = route(context, request)
    if isinstance(answer, Response):
        return answer, False
    if late:
        asyncio.get_running_loop().call_soon(arrive)
    return await answer, isinstance(answer, Deferred)


def told(answer: Response) -> tuple[int, dict[str, str], Any]:
    """Return what a client sees, without what differs from one write to the next."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-amz-version-id"}
    headers["versioned"] = str("x-amz-version-id" in answer.headers)
    return answer.status, headers, answer.body


HEADERS = {
    "content-type": ["text/plain", ""],
    "content-md5": [MD5, base64.b64encode(bytes(16)).decode()],
    "x-amz-checksum-crc32": [CRC32, "AAAAAA=="],
    "if-none-match": ["*", '"abc"'],
    "if-match": ["*", '"abc"'],
    "x-amz-meta-colour": ["blue", "=?UTF-8?B?w6Q=?=", "x" * 3000],
    "x-amz-tagging": ["a=b&c=d", "a=1&a=2"],
    "x-amz-acl": ["public-read", "private", "nonsense"],
    "x-amz-storage-class": ["STANDARD", "GLACIER", "WOOD"],
    "x-amz-server-side-encryption": ["AES256", "wood"],
    "x-amz-expected-bucket-owner": ["000000000000", "111111111111"],
    "cache-control": ["no-store"],
    "origin": ["https://a.example", "https://b.example"],
}
one_header = st.sampled_from([(name, value) for name, values in HEADERS.items() for value in values])


@settings(max_examples=150, deadline=None)
@given(
    bucket=st.sampled_from(["plain", "versioned", "no-such-bucket"]),
    pairs=st.lists(one_header, max_size=4),
    exists=st.booleans(),
    length=st.sampled_from([None, None, None, 4097]),
    sha256=st.sampled_from([None, SHA256, "0" * 64]),
)
def test_whatever_the_request_says(
    context: Context,
    bucket: str,
    pairs: list[tuple[str, str]],
    exists: bool,
    length: int | None,
    sha256: str | None,
) -> None:
    headers = dict(pairs)

    async def both() -> list[Any]:
        seen: list[Any] = []
        for late in (False, True):
            # The same name, so that answers that quote it agree; made anew, or removed, for each of the two.
            if bucket != "no-such-bucket":
                handle = context.store.bucket(bucket)
                handle.put("key", b"before") if exists else handle.delete("key")
            answer, deferred = await ask(context, bucket, "key", dict(headers), late=late, length=length, sha256=sha256)
            if late:
                assert not deferred
            elif answer.status == 200 and "x-amz-server-side-encryption" not in headers:
                assert deferred  # the first write under a key waits for the keyring in a thread
            seen.append(told(answer))
            if answer.status == 200:
                info = context.store.bucket(bucket).read("key").info
                seen.append((info.etag, info.content_type, info.metadata, info.headers, info.checksums, info.tag_count))
        return seen

    seen = asyncio.run(both())
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]


def test_a_bucket_that_goes_while_the_commit_waits(context: Context) -> None:
    async def main() -> None:
        context.store.create_bucket("short-lived", durability="relaxed")
        incoming = RequestBody(0, None, None, None, buffer_max=1, size_max=1)
        incoming.end()
        request = Request("PUT", "/short-lived/k", "short-lived", "k", {}, {}, incoming, "AK", "ID", signer=ROOT)
        bucket = context.store.bucket("short-lived")
        make, bucket_of = bucket.put_operation, context._buckets

        class Gone:
            """The handle, whose bucket is deleted between the request and its commit."""

            info = bucket.info

            def put_operation(self, *arguments: Any, **options: Any) -> Any:
                operation = make(*arguments, **options)
                context.store.delete_bucket("short-lived")
                return operation

        bucket_of["short-lived"] = Gone()  # type: ignore[assignment]
        answer = route(context, request)
        assert isinstance(answer, Deferred)
        bucket_of.pop("short-lived")
        response = await answer
        assert response.status == 404
        assert b"NoSuchBucket" in bytes(response.body)  # type: ignore[arg-type]

    asyncio.run(main())

"""Requests of STS, in process: whatever comes, the answer is STS's own, and nothing is told to the unsigned."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickvault as tv
from tickvault.doors.s3.authorization.signer import Signers
from tickvault.doors.s3.body import RequestBody
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.router import route

FORM = "application/x-www-form-urlencoded"
NAMESPACE = "{https://sts.amazonaws.com/doc/2011-06-15/}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, Credentials]]:
    with tv.open(tmp_path_factory.mktemp("sts") / "vault") as vault:
        vault.identities.create_user("alice")
        key = vault.identities.create_access_key("alice")
        signers = Signers(lambda access_key: None, vault.identities)
        yield Context(vault.store, signers.find, identities=vault.identities), Credentials(key.id, key.secret.reveal())


def ask(world: tuple[Context, Credentials], body: bytes, *, sign: bool = True, **more: Any) -> Response:
    context, credentials = world
    headers = {"host": "door", "content-type": FORM, **more.pop("headers", {})}
    if sign:
        request = AWSRequest("POST", "http://door/", headers=headers, data=body)
        SigV4Auth(credentials, "sts", "us-east-1").add_auth(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
    arrived = RequestBody(len(body), None, None, None, buffer_max=1 << 20, size_max=1 << 30)
    arrived.feed(body)
    arrived.end()
    asked = Request("POST", "/", "", "", more.get("query", {}), headers, arrived, "", "ID")

    async def run() -> Response:
        answer = route(context, asked)
        return answer if isinstance(answer, Response) else await answer

    return asyncio.run(run())


def code_of(answer: Response) -> str:
    root = ElementTree.fromstring(bytes(answer.body))  # type: ignore[arg-type]
    assert root.tag == f"{NAMESPACE}ErrorResponse"
    return root.findtext(f"{NAMESPACE}Error/{NAMESPACE}Code") or ""


def test_an_answer(world: tuple[Context, Credentials]) -> None:
    answer = ask(world, b"Action=GetCallerIdentity&Version=2011-06-15")
    root = ElementTree.fromstring(bytes(answer.body))  # type: ignore[arg-type]
    result = root.find(f"{NAMESPACE}GetCallerIdentityResult")
    assert result is not None
    assert result.findtext(f"{NAMESPACE}Arn") == "arn:aws:iam::000000000000:user/alice"
    assert answer.headers["Cache-Control"] == "no-store"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), signed=st.booleans())
def test_any_bytes(world: tuple[Context, Credentials], body: bytes, signed: bool) -> None:
    answer = ask(world, body, sign=signed)
    assert 400 <= answer.status <= 501 and answer.status != 500
    assert code_of(answer)
    assert signed or answer.status == 403


_names = st.sampled_from(
    ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId", "Tags.member.1.Key"]
)
_values = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["AssumeRole", "GetSessionToken", "2011-06-15", "2010-05-08", "900", "-1", "1e9", "٣٦٠٠", "{}",
         "arn:aws:iam::000000000000:role/none", "arn:aws:iam::000000000000:role/../user/alice"]
    ),
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.dictionaries(_names, _values))
def test_any_form(world: tuple[Context, Credentials], form: dict[str, str]) -> None:
    from urllib.parse import urlencode

    try:
        body = urlencode(form).encode()
    except UnicodeEncodeError:
        return
    answer = ask(world, body)
    if answer.status == 200:
        assert form["Action"] == "GetSessionToken"
        return
    assert answer.status != 500, bytes(answer.body)  # type: ignore[arg-type]
    assert code_of(answer)


def test_what_is_refused(world: tuple[Context, Credentials]) -> None:
    who = b"Action=GetCallerIdentity&Version=2011-06-15"
    assert code_of(ask(world, who, headers={"content-type": "application/json"})) == "InvalidRequest"
    assert code_of(ask(world, who, query={"Action": "GetCallerIdentity"})) == "InvalidRequest"
    assert code_of(ask(world, who, sign=False)) == "MissingAuthenticationToken"
    assert code_of(ask(world, who + b"&Surprise=1")) == "NotImplemented"
    unknown = (world[0], Credentials("TVAKAAAAAAAAAAAAAAAA", "x" * 40))
    assert code_of(ask(unknown, who)) == "InvalidClientTokenId"
    wrong = (world[0], Credentials(world[1].access_key, "x" * 40))
    assert code_of(ask(wrong, who)) == "SignatureDoesNotMatch"
    token = (world[0], Credentials(world[1].access_key, world[1].secret_key, "a token"))
    assert code_of(ask(token, who)) == "InvalidClientTokenId"

"""Identities, policies and the pages about them, together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from memory_documents import MemoryDocuments

from tickvault.errors import AccessDeniedError
from tickvault.security.identity import Credential, FileSealer, Identities, TrustRequest, required

policy = pytest.importorskip("tickvault.security.policy")
HOW_TO = Path(__file__).parents[4] / "docs" / "how-to" / "manage-identities.md"
TRUST = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
 "Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}}]}"""


def policy_set(credential: Credential) -> object:
    texts = credential.policies
    boundary = None if texts.boundary is None else policy.parse_policy(texts.boundary.text, kind="identity")
    session = [policy.parse_policy(each.text, kind="session") for each in texts.session]
    held = policy.PolicySet(
        {each.name: policy.parse_policy(each.text, kind="identity") for each in texts.identity},
        boundary=boundary,
        sessions=() if credential.service_account else session,
    )
    if not credential.service_account:
        return held
    own = {each.name: policy.parse_policy(each.text, kind="identity") for each in texts.session}
    parent = policy.Principal(*credential.principal._replace(kind="user"))
    return policy.PolicySet.service_account(held, parent, own or None)


def may(credential: Credential, action: str, resource: str) -> bool:
    request = policy.AccessRequest(policy.Principal(*credential.own_principal), action, resource, {})
    return policy_set(credential).decide(request).allowed  # type: ignore[attr-defined, no-any-return]


def decide(request: TrustRequest) -> bool:
    asked = policy.AccessRequest(
        policy.Principal(*request.caller.own_principal), request.action, request.resource, request.context
    )
    trust = policy.parse_policy(request.trust_policy, kind="trust")
    return policy_set(request.caller).decide_role(asked, trust).allowed  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def judged(documents: MemoryDocuments) -> Identities:
    return Identities(
        documents,
        FileSealer(b"k" * 32),
        lambda text, kind: policy.parse_policy(text, kind=kind).identities,
        vault_id="one",
        built_in_policies={name: policy.role_policy(name).to_json() for name in policy.ROLES},
    )


def test_the_blocks_of_the_page_run_in_order(judged: Identities, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    names = {"identities": judged, "decide": decide}
    for block in blocks:
        exec(compile(block, str(HOW_TO), "exec"), names)
    assert "['alice']" in capsys.readouterr().out
    assert judged.get_user("alice").disabled


def test_a_service_account_may_what_both_allow(judged: Identities) -> None:
    judged.create_user("alice")
    judged.attach_policy("writer", user="alice")
    own = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::one/*"}]}'
    judged.create_service_account("ci", parent="alice", policy=own)
    alice = judged.find(judged.create_access_key("alice").id)
    account = judged.find(judged.create_access_key(service_account="ci").id)
    assert may(alice, "s3:PutObject", "arn:aws:s3:::two/x")
    assert not may(account, "s3:PutObject", "arn:aws:s3:::two/x")
    assert may(account, "s3:PutObject", "arn:aws:s3:::one/x")
    assert not may(account, "s3:PutBucketPolicy", "arn:aws:s3:::one")


def test_who_is_no_administrator_becomes_none(judged: Identities) -> None:
    """Each row gives one action of administration on everything, as a careless policy would."""
    judged.create_user("mallory")
    judged.create_user("bob")
    key = judged.create_access_key("mallory")

    def allowed(verb: str, **named: str) -> bool:
        caller = judged.find(key.id)
        return all(may(caller, check.action, check.resource) for check in required(verb, caller, **named))

    attempts = [
        ("iam:CreateAccessKey", "create_access_key", {"user": "bob"}),
        ("iam:AttachUserPolicy", "attach_policy", {"user": "mallory", "policy": "administrator"}),
        ("iam:PutUserPolicy", "put_inline_policy", {"user": "mallory"}),
        ("iam:DeleteUserPermissionsBoundary", "set_boundary", {"user": "mallory"}),
        ("iam:CreateServiceAccount", "create_service_account", {"user": "bob"}),
    ]
    for action, verb, named in attempts:
        text = f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}'
        judged.put_inline_policy("careless", text, user="mallory")
        assert not allowed(verb, **named), verb
    judged.attach_policy("administrator", user="mallory")
    assert all(allowed(verb, **named) for _, verb, named in attempts)


def test_whom_the_trust_policy_names_assumes_the_role(judged: Identities) -> None:
    for name in ("alice", "bob"):
        judged.create_user(name)
    judged.create_role("loader", TRUST)
    judged.create_service_account("ci", parent="alice", policy=TRUST.replace("Principal", "Resource").replace(
        '{"AWS": "arn:aws:iam::000000000000:user/alice"}', '"arn:aws:s3:::x"'))  # fmt: skip
    alice, bob = (judged.find(judged.create_access_key(name).id) for name in ("alice", "bob"))
    account = judged.find(judged.create_access_key(service_account="ci").id)
    session = judged.assume_role(alice, "loader", "run", decide=decide)
    found = judged.find(session.access_key_id, session.session_token.reveal())
    assert found.principal.arn.endswith("assumed-role/loader/run")
    for other in (bob, account):
        with pytest.raises(AccessDeniedError):
            judged.assume_role(other, "loader", "run", decide=decide)

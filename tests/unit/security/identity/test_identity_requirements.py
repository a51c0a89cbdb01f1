from __future__ import annotations

import re
from pathlib import Path

import pytest
from identity_setting import READ, ROOT, TRUST
from memory_documents import MemoryDocuments

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.security.identity import (
    ADMINISTER,
    REQUIREMENTS,
    Credential,
    Identities,
    required,
    required_action,
)

DOCS = Path(__file__).parents[4] / "docs"
NOT_ADMINISTRATION = {"find", "write_last_used", "binding", "check_policy"}


@pytest.fixture
def alice(identities: Identities) -> Credential:
    identities.create_user("alice")
    identities.create_group("quants")
    identities.create_policy("mine", READ)
    identities.attach_policy("mine", group="quants")
    identities.add_user_to_group("alice", "quants")
    return identities.find(identities.create_access_key("alice").id)


def actions(caller: Credential, verb: str, **named: str) -> list[str]:
    return [check.action for check in required(verb, caller, **named)]


def test_every_verb_has_its_row_and_every_row_a_verb() -> None:
    verbs = {name for name in dir(Identities) if not name.startswith("_") and callable(getattr(Identities, name))}
    assert verbs - NOT_ADMINISTRATION == set(REQUIREMENTS)


def test_every_row_stands_in_the_documentation() -> None:
    text = (DOCS / "reference" / "identities.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w:{}]+)` \|", text, re.MULTILINE))
    assert rows == {verb: requirement.action for verb, requirement in REQUIREMENTS.items()}


def test_actions_and_resources(alice: Credential) -> None:
    assert required_action("create_access_key") == "iam:CreateAccessKey"
    assert required_action("attach_policy", holder="role") == "iam:AttachRolePolicy"
    (check,) = required("attach_policy", alice, user="bob", policy="other")
    assert check == (
        "iam:AttachUserPolicy",
        "arn:aws:iam::000000000000:user/bob",
        {"iam:PolicyARN": "arn:aws:iam::000000000000:policy/other"},
    )
    (check,) = required("assume_role", alice, role="worker")
    assert check[:2] == ("sts:AssumeRole", "arn:aws:iam::000000000000:role/worker")
    (check,) = required("create_user", alice, user="bob", policy="bound")
    assert check.context == {"iam:PermissionsBoundary": "arn:aws:iam::000000000000:policy/bound"}
    assert actions(alice, "set_boundary", user="bob", policy="mine") == ["iam:PutUserPermissionsBoundary"]
    assert actions(alice, "set_boundary", user="bob") == ["iam:DeleteUserPermissionsBoundary"]


def test_keys_of_others_take_an_administrator(alice: Credential) -> None:
    for verb in ("create_access_key", "rotate_access_key", "set_access_key_disabled", "delete_access_key"):
        assert ADMINISTER not in actions(alice, verb, user="alice")
        assert ADMINISTER in actions(alice, verb, user="bob")
        assert ADMINISTER in actions(alice, verb, service_account="ci")
        assert ADMINISTER not in actions(alice, verb, service_account="ci", parent="alice")
        assert ADMINISTER in actions(alice, verb, service_account="ci", parent="bob")
    assert ADMINISTER not in actions(alice, "create_service_account", user="alice")
    assert ADMINISTER in actions(alice, "create_service_account", user="bob")


@pytest.mark.parametrize(
    ("verb", "named"),
    [
        ("attach_policy", {"user": "alice", "policy": "reader"}),
        ("attach_policy", {"group": "quants", "policy": "reader"}),
        ("detach_policy", {"user": "alice", "policy": "reader"}),
        ("put_inline_policy", {"user": "alice"}),
        ("put_inline_policy", {"group": "quants"}),
        ("delete_inline_policy", {"user": "alice"}),
        ("set_boundary", {"user": "alice"}),
        ("update_policy", {"policy": "mine"}),
        ("add_user_to_group", {"user": "alice", "group": "quants"}),
        ("tag_user", {"user": "alice"}),
        ("set_user_disabled", {"user": "alice"}),
    ],
)
def test_ones_own_rights_take_an_administrator(alice: Credential, verb: str, named: dict[str, str]) -> None:
    assert ADMINISTER in actions(alice, verb, **named)
    others = dict.fromkeys(named, "other")
    assert ADMINISTER not in actions(alice, verb, **others)


def test_a_session_does_not_change_its_own_role(identities: Identities, alice: Credential) -> None:
    identities.create_role("worker", TRUST)
    session = identities.assume_role(alice, "worker", "run", decide=lambda request: True)
    caller = identities.find(session.access_key_id, session.session_token.reveal())
    assert ADMINISTER in actions(caller, "attach_policy", role="worker", policy="reader")
    assert ADMINISTER in actions(caller, "update_role", role="worker")
    assert ADMINISTER not in actions(caller, "attach_policy", role="other", policy="reader")
    assert ADMINISTER in actions(caller, "create_access_key", user="alice"), "the user's key outlives the session"


def test_the_narrowed_change_no_identity(identities: Identities, alice: Credential) -> None:
    identities.create_service_account("ci", parent="alice", policy=READ)
    account = identities.find(identities.create_access_key(service_account="ci").id)
    session = identities.get_session_token(alice, session_policy=READ)
    narrowed = identities.find(session.access_key_id, session.session_token.reveal())
    for caller in (account, narrowed):
        for verb, requirement in REQUIREMENTS.items():
            named = {
                "none": {}, "user": {"user": "alice"}, "group": {"group": "quants"}, "role": {"role": "r"},
                "policy": {"policy": "mine"}, "service-account": {"service_account": "ci"}, "key": {"user": "alice"},
                "holder": {"user": "alice"}, "session-holder": {"user": "alice"},
            }[requirement.target]  # fmt: skip
            if requirement.changes:
                with pytest.raises(AccessDeniedError, match="narrowed"):
                    required(verb, caller, **named)
            else:
                assert required(verb, caller, **named)


def test_the_root_is_asked_for_nothing(identities: Identities) -> None:
    root = identities.find(ROOT.access_key)
    assert required("create_access_key", root, user="alice") == ()


def test_what_is_not_named_is_asked_for(alice: Credential) -> None:
    for verb, named in (
        ("create_access_key", {}),
        ("create_access_key", {"user": "a", "service_account": "b"}),
        ("attach_policy", {"policy": "mine"}),
        ("attach_policy", {"user": "a", "role": "b"}),
        ("make_me_king", {"user": "alice"}),
    ):
        with pytest.raises(InvalidInputError):
            required(verb, alice, **named)  # type: ignore[arg-type]


def test_asking_changes_nothing(alice: Credential, documents: MemoryDocuments) -> None:
    before = documents.revision(), documents.get_count
    required("delete_user", alice, user="bob")
    assert (documents.revision(), documents.get_count) == before

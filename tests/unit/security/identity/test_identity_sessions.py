from __future__ import annotations

import base64

import pytest
from identity_setting import READ, ROOT, START_NS, TRUST, WRITE, SetClock
from memory_documents import MemoryDocuments

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.security.identity import (
    Credential,
    CredentialRefusedError,
    Identities,
    Refusal,
    Session,
    TrustRequest,
)

S = 1_000_000_000


def always(request: TrustRequest) -> bool:
    return True


def found(identities: Identities, session: Session) -> Credential:
    return identities.find(session.access_key_id, session.session_token.reveal())


def refusal(identities: Identities, session: Session) -> Refusal:
    with pytest.raises(CredentialRefusedError) as caught:
        found(identities, session)
    return caught.value.refusal


@pytest.fixture
def alice(identities: Identities) -> Credential:
    identities.create_user("alice")
    identities.create_role("worker", TRUST, duration_s_max=43_200, tags={"team": "etl"})
    identities.attach_policy("reader", role="worker")
    return identities.find(identities.create_access_key("alice").id)


def test_a_session_of_a_role_is_found(identities: Identities, alice: Credential, documents: MemoryDocuments) -> None:
    before = documents.revision()
    session = identities.assume_role(alice, "worker", "night-run", decide=always, session_policy=WRITE)
    assert documents.revision() == before, "nothing is stored of a session"
    assert session.access_key_id.startswith("TVST")
    assert len(session.access_key_id) == 20
    assert session.expires_ns == START_NS + 3600 * S
    credential = found(identities, session)
    role = identities.get_role("worker")
    assert credential.secret == session.secret
    assert credential.principal == (
        "arn:aws:sts::000000000000:assumed-role/worker/night-run", "000000000000", "", f"{role.id}:night-run", "role",
        {"team": "etl"}, (),
    )  # fmt: skip
    assert credential.session is not None
    assert (credential.session.issuer_arn, credential.session.issued_ns) == (role.arn, START_NS)
    assert dict(credential.policies.identity) == {"policy/reader": READ}
    assert credential.policies.session == (("session", WRITE),)
    assert found(identities, session) is credential


def test_another_process_finds_it_too(identities: Identities, alice: Credential, make: object) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always)
    assert found(make(), session).secret == session.secret  # type: ignore[operator]


def test_the_trust_policy_decides(identities: Identities, alice: Credential) -> None:
    asked: list[TrustRequest] = []

    def never(request: TrustRequest) -> bool:
        asked.append(request)
        return False

    with pytest.raises(AccessDeniedError) as denied:
        identities.assume_role(
            alice,
            "worker",
            "run",
            decide=never,
            external_id="xy",
            context={"aws:SourceIp": "1.2.3.4", "sts:RoleSessionName": "forged"},
        )
    (request,) = asked
    assert (request.trust_policy, request.caller, request.action) == (TRUST, alice, "sts:AssumeRole")
    assert request.resource == "arn:aws:iam::000000000000:role/worker"
    assert request.context == {"aws:SourceIp": "1.2.3.4", "sts:RoleSessionName": "run", "sts:ExternalId": "xy"}
    with pytest.raises(AccessDeniedError) as missing:
        identities.assume_role(alice, "nobody", "run", decide=always)
    assert str(missing.value) == str(denied.value).replace("worker", "nobody"), "which roles there are is not told"


@pytest.mark.parametrize("duration_s", [899, 43_201, 0, -1, True, 900.0, "900"])
def test_durations_out_of_bounds_are_refused(identities: Identities, alice: Credential, duration_s: int) -> None:
    with pytest.raises(InvalidInputError, match="duration_s"):
        identities.assume_role(alice, "worker", "run", decide=always, duration_s=duration_s)


def test_durations_within_bounds_and_the_roles_own(identities: Identities, alice: Credential) -> None:
    for duration_s in (900, 43_200):
        session = identities.assume_role(alice, "worker", "run", decide=always, duration_s=duration_s)
        assert session.expires_ns - session.issued_ns == duration_s * S
    identities.update_role("worker", duration_s_max=7200)
    with pytest.raises(InvalidInputError, match="7200"):
        identities.assume_role(alice, "worker", "run", decide=always, duration_s=7201)


@pytest.mark.parametrize("name", ["", "a", "a" * 65, "a/b", "a b", "\u212aelvin", "a\n", None])
def test_session_names_follow_the_rule(identities: Identities, alice: Credential, name: str) -> None:
    with pytest.raises(InvalidInputError):
        identities.assume_role(alice, "worker", name, decide=always)


@pytest.mark.parametrize("policy", ["{}", TRUST, "x" * 2049, ""])
def test_session_policies_are_compiled(identities: Identities, alice: Credential, policy: str) -> None:
    with pytest.raises(InvalidInputError):
        identities.assume_role(alice, "worker", "run", decide=always, session_policy=policy)


def test_a_session_ends_on_the_nanosecond(identities: Identities, alice: Credential, clock: SetClock) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always, duration_s=900)
    found(identities, session)
    clock.move(900, ns=-1)
    found(identities, session)
    clock.move(ns=1)
    assert refusal(identities, session) is Refusal.EXPIRED
    assert refusal(identities, session) is Refusal.EXPIRED


@pytest.mark.parametrize("warm", [False, True])
def test_a_clock_set_back_refuses_what_was_issued_later(
    identities: Identities, alice: Credential, clock: SetClock, warm: bool
) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always)
    if warm:
        found(identities, session)
    clock.move(-300)
    found(identities, session)
    clock.move(ns=-1)
    assert refusal(identities, session) is Refusal.INVALID_TOKEN


def test_every_flipped_bit_of_a_token_is_refused(identities: Identities, alice: Credential, make: object) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always)
    token = session.session_token.reveal()
    cold = make()  # type: ignore[operator]
    for place in range(len(token)):
        for bit in range(8):
            flipped = token[:place] + chr(ord(token[place]) ^ (1 << bit)) + token[place + 1 :]
            with pytest.raises(CredentialRefusedError) as caught:
                cold.find(session.access_key_id, flipped)
            assert caught.value.refusal is Refusal.INVALID_TOKEN
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 0x01
        with pytest.raises(CredentialRefusedError):
            cold.find(session.access_key_id, base64.urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode())
    found(cold, session)


@pytest.mark.parametrize("warm", [False, True])
def test_tokens_that_are_almost_one_are_refused(identities: Identities, alice: Credential, warm: bool) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always)
    if warm:
        found(identities, session)
    token = session.session_token.reveal()
    hostile = ["", " ", token[:-1], token + "A", token + "=", token + "\n", " " + token, token * 40, "A" * 4096,
               "\ud800", "é" * 100, token.replace("-", "+").replace("_", "/") + "==", token[:8], "AQ"]  # fmt: skip
    for each in hostile:
        with pytest.raises(CredentialRefusedError) as caught:
            identities.find(session.access_key_id, each)
        assert caught.value.refusal is Refusal.INVALID_TOKEN
        assert token not in str(caught.value)
    with pytest.raises(CredentialRefusedError) as caught:
        identities.find(session.access_key_id)
    assert caught.value.refusal is Refusal.UNKNOWN
    found(identities, session)


def test_a_token_serves_its_own_key_and_vault_only(
    identities: Identities, alice: Credential, make: object, documents: MemoryDocuments
) -> None:
    one = identities.assume_role(alice, "worker", "run", decide=always)
    two = identities.assume_role(alice, "worker", "run", decide=always)
    assert one.access_key_id != two.access_key_id
    for key_id in (two.access_key_id, alice.access_key_id, ROOT.access_key, "TVST" + "A" * 16):
        with pytest.raises(CredentialRefusedError) as caught:
            identities.find(key_id, one.session_token.reveal())
        assert caught.value.refusal is Refusal.INVALID_TOKEN
    for other in (make(key=b"o" * 32), make(vault_id="two")):  # type: ignore[operator]
        assert refusal(other, one) is Refusal.INVALID_TOKEN


def test_a_session_dies_with_its_role_also_when_there_is_a_namesake(identities: Identities, alice: Credential) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always)
    found(identities, session)
    identities.delete_role("worker", force=True)
    assert refusal(identities, session) is Refusal.REVOKED
    identities.create_role("worker", TRUST)
    assert refusal(identities, session) is Refusal.REVOKED
    assert Refusal.REVOKED.s3_code == "InvalidToken"


def test_a_session_dies_with_who_began_it_and_not_with_their_key(identities: Identities, alice: Credential) -> None:
    session = identities.assume_role(alice, "worker", "run", decide=always)
    identities.delete_access_key(alice.access_key_id)
    found(identities, session)
    identities.set_user_disabled("alice", True)
    assert refusal(identities, session) is Refusal.REVOKED
    identities.set_user_disabled("alice", False)
    found(identities, session)
    identities.delete_user("alice")
    identities.create_user("alice")
    assert refusal(identities, session) is Refusal.REVOKED


def test_sessions_are_revoked_by_when_they_were_issued(
    identities: Identities, alice: Credential, clock: SetClock
) -> None:
    old = identities.assume_role(alice, "worker", "old", decide=always)
    found(identities, old)
    clock.move(10)
    new = identities.assume_role(alice, "worker", "new", decide=always)
    assert identities.revoke_sessions(role="worker", issued_before_ns=START_NS) == START_NS
    found(identities, old)
    assert identities.revoke_sessions(role="worker", issued_before_ns=START_NS + 10 * S) == START_NS + 10 * S
    assert refusal(identities, old) is Refusal.REVOKED
    found(identities, new)
    assert identities.revoke_sessions(role="worker", issued_before_ns=START_NS) == START_NS + 10 * S
    assert refusal(identities, old) is Refusal.REVOKED
    clock.move(1)
    identities.revoke_sessions(user="alice")
    assert refusal(identities, new) is Refusal.REVOKED
    assert found(identities, identities.assume_role(alice, "worker", "newer", decide=always))
    for wrong in (clock.now_ns() + 1, -1, True, 1.5):
        with pytest.raises(InvalidInputError):
            identities.revoke_sessions(role="worker", issued_before_ns=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        identities.revoke_sessions()
    with pytest.raises(InvalidInputError):
        identities.revoke_sessions(role="worker", user="alice")


def test_a_chain_of_roles_lasts_an_hour_and_ends_link_by_link(
    identities: Identities, alice: Credential, clock: SetClock
) -> None:
    identities.create_role("second", TRUST, duration_s_max=43_200)
    one = identities.assume_role(alice, "worker", "run", decide=always, duration_s=43_200)
    clock.move(10)
    with pytest.raises(InvalidInputError, match="3600"):
        identities.assume_role(found(identities, one), "second", "run", decide=always, duration_s=3601)
    two = identities.assume_role(found(identities, one), "second", "run", decide=always, duration_s=3600)
    assert found(identities, two).principal.arn.endswith("second/run")
    clock.move(10)
    # The first link was issued before this, though the second was not.
    identities.revoke_sessions(role="worker", issued_before_ns=START_NS + 5 * S)
    assert refusal(identities, one) is Refusal.REVOKED
    assert refusal(identities, two) is Refusal.REVOKED
    three = identities.assume_role(alice, "second", "run", decide=always)
    found(identities, three)
    identities.set_user_disabled("alice", True)
    assert refusal(identities, three) is Refusal.REVOKED


def test_a_chain_has_an_end(identities: Identities, alice: Credential) -> None:
    caller = alice
    for _ in range(4):
        caller = found(identities, identities.assume_role(caller, "worker", "run", decide=always))
    with pytest.raises(InvalidInputError, match="4 roles"):
        identities.assume_role(caller, "worker", "run", decide=always)


def test_the_largest_token_fits(identities: Identities) -> None:
    """Names of full length, the longest chain from a service account, the largest session policy."""
    user, account = "u" * 64, "s" * 64
    identities.create_user(user)
    identities.create_service_account(account, parent=user)
    caller = identities.find(identities.create_access_key(service_account=account).id)
    policy = READ[:-1] + " " * (2048 - len(READ)) + READ[-1]
    for place in range(4):
        name = f"{place}".rjust(64, "r")
        identities.create_role(name, TRUST)
        session = identities.assume_role(caller, name, "n" * 64, decide=always, session_policy=policy)
        caller = found(identities, session)
    assert len(session.session_token.reveal()) <= 4096
    assert caller.policies.session[0].text == policy


def test_service_accounts_may_begin_sessions_which_end_with_both(identities: Identities, alice: Credential) -> None:
    identities.create_service_account("ci", parent="alice")
    caller = identities.find(identities.create_access_key(service_account="ci").id)
    session = identities.assume_role(caller, "worker", "run", decide=always)
    found(identities, session)
    identities.revoke_sessions(user="alice", issued_before_ns=START_NS)
    found(identities, session)
    identities.set_service_account_disabled("ci", True)
    assert refusal(identities, session) is Refusal.REVOKED
    identities.set_service_account_disabled("ci", False)
    found(identities, session)
    identities.set_user_disabled("alice", True)
    assert refusal(identities, session) is Refusal.REVOKED


def test_the_root_and_who_has_expired_begin_none(identities: Identities, alice: Credential, clock: SetClock) -> None:
    root = identities.find(ROOT.access_key)
    with pytest.raises(AccessDeniedError, match="root"):
        identities.assume_role(root, "worker", "run", decide=always)
    with pytest.raises(AccessDeniedError):
        identities.get_session_token(root)
    session = identities.assume_role(alice, "worker", "run", decide=always, duration_s=900)
    caller = found(identities, session)
    clock.move(900)
    with pytest.raises(CredentialRefusedError):
        identities.assume_role(caller, "worker", "run", decide=always)


def test_a_user_begins_a_session_of_their_own(identities: Identities, alice: Credential, clock: SetClock) -> None:
    identities.attach_policy("reader", user="alice")
    session = identities.get_session_token(alice, duration_s=129_600, session_policy=WRITE)
    credential = found(identities, session)
    assert credential.principal == alice.principal
    assert dict(credential.policies.identity) == {"policy/reader": READ}
    assert credential.policies.narrowed
    assert credential.session is not None
    assert credential.session.role == ""
    with pytest.raises(AccessDeniedError):
        identities.get_session_token(credential)
    # From a session of a user, a role may be assumed for as long as from the user's key: it is no chain of roles.
    longer = identities.assume_role(credential, "worker", "run", decide=always, duration_s=43_200)
    found(identities, longer)
    clock.move(1)
    identities.revoke_sessions(user="alice")
    assert refusal(identities, session) is Refusal.REVOKED
    assert refusal(identities, longer) is Refusal.REVOKED
    for wrong in (899, 129_601):
        with pytest.raises(InvalidInputError):
            identities.get_session_token(alice, duration_s=wrong)

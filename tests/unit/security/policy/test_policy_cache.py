"""Decisions remembered: never across what they depend on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tickvault.security.policy import AccessRequest, DecisionCache, PolicySet, Principal, parse_policy
from tickvault.security.policy import decide as decide_module

ALICE = Principal("arn:aws:iam::123456789012:user/alice", "123456789012", "alice", "AIDA1", "user")
OBJECT = "arn:aws:s3:::b/k"


def policies(**condition: Any) -> PolicySet:
    entry = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": "*",
        **({"Condition": condition} if condition else {}),
    }
    return PolicySet({"a": parse_policy({"Version": "2012-10-17", "Statement": [entry]}, kind="identity")})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[AccessRequest]:
    """Every request that was decided, not remembered."""
    seen: list[AccessRequest] = []
    plain = decide_module.PolicySet.decide

    def counted(self: PolicySet, request: AccessRequest, bucket_policy: Any = None) -> Any:
        seen.append(request)
        return plain(self, request, bucket_policy)

    monkeypatch.setattr(decide_module.PolicySet, "decide", counted)
    return seen


def request(
    who: Principal = ALICE, action: str = "s3:GetObject", resource: str = OBJECT, **context: str
) -> AccessRequest:
    return AccessRequest(who, action, resource, {f"aws:{key}": value for key, value in context.items()})


def test_an_equal_request_is_decided_once(asked: list[AccessRequest]) -> None:
    cache, held = DecisionCache(), policies()
    first = cache.decide(held, request(), generation=1)
    # Keys that no statement reads change nothing.
    assert cache.decide(held, request(UserAgent="x"), generation=1) is first
    assert len(asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"who": ALICE._replace(arn=ALICE.arn + "2")},
        {"who": ALICE._replace(kind="root")},
        {"action": "s3:PutObject"},
        {"resource": OBJECT + "2"},
        {"SourceIp": "192.0.2.1"},
    ],
    ids=str,
)
def test_another_request_is_decided_anew(asked: list[AccessRequest], other: dict[str, Any]) -> None:
    cache, held = DecisionCache(), policies(NotIpAddress={"aws:SourceIp": "192.0.2.0/24"})
    cache.decide(held, request(SourceIp="10.0.0.1"), generation=1)
    changed = request(**{"SourceIp": "10.0.0.1", **other})
    assert cache.decide(held, changed, generation=1) == held.decide(changed)
    assert len(asked) == 3


def test_a_tag_of_the_principal_counts_when_a_statement_reads_it() -> None:
    cache, held = DecisionCache(), policies(StringEquals={"aws:PrincipalTag/desk": "fx"})
    assert not cache.decide(held, request(), generation=1).allowed
    assert cache.decide(held, request(ALICE._replace(tags={"desk": "fx"})), generation=1).allowed
    assert not cache.decide(held, request(ALICE._replace(tags={"desk": "eq"})), generation=1).allowed


def test_another_generation_or_another_policy_forgets(asked: list[AccessRequest]) -> None:
    cache, held = DecisionCache(), policies()
    assert cache.decide(held, request(), generation=1).allowed
    assert cache.decide(held, request(), generation=2).allowed
    assert len(asked) == 2
    assert len(cache) == 1
    assert not cache.decide(PolicySet(), request(), generation=2).allowed
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}
    bucket_policy = parse_policy({"Statement": [deny]}, kind="bucket")
    assert not cache.decide(held, request(), bucket_policy, generation=2).allowed
    assert cache.decide(held, request(), generation=2).allowed


@pytest.mark.parametrize(
    "condition",
    [
        {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}},
        {"NumericLessThan": {"aws:EpochTime": "1893456000"}},
    ],
    ids=str,
)
def test_what_depends_on_the_time_is_never_remembered(condition: Any) -> None:
    cache, held = DecisionCache(), policies(**condition)
    before = request(CurrentTime="2029-12-31T23:59:59Z", EpochTime="1893455999")
    after = request(CurrentTime="2030-01-01T00:00:00Z", EpochTime="1893456000")
    assert cache.decide(held, before, generation=1).allowed
    assert not cache.decide(held, after, generation=1).allowed
    assert len(cache) == 0


def test_a_service_account_depends_on_what_its_parent_reads() -> None:
    parent = policies(StringEquals={"aws:PrincipalTag/desk": "fx", "aws:SourceIp": "10.0.0.1"})
    robot = Principal("arn:aws:iam::123456789012:service-account/r", "123456789012", "r", "SA1", "service-account")
    held = PolicySet.service_account(parent, ALICE._replace(tags={"desk": "fx"}))
    cache = DecisionCache()
    assert cache.decide(held, request(robot, SourceIp="10.0.0.1"), generation=1).allowed
    assert not cache.decide(held, request(robot, SourceIp="10.0.0.2"), generation=1).allowed
    timed = PolicySet.service_account(policies(DateLessThan={"aws:CurrentTime": "2030-01-01"}), ALICE)
    size = len(cache)
    cache.decide(timed, request(robot, CurrentTime="2029-01-01"), generation=1)
    assert len(cache) == size


def test_memory_is_bounded_and_what_is_asked_for_stays(asked: list[AccessRequest]) -> None:
    cache, held = DecisionCache(entries_max=100), policies()
    for index in range(1_000):
        cache.decide(held, request(resource=f"arn:aws:s3:::b/{index}"), generation=1)
        cache.decide(held, request(), generation=1)
        assert len(cache) <= 100
    assert sum(one.resource == OBJECT for one in asked) == 1


def test_threads_get_the_right_answers() -> None:
    cache = DecisionCache(entries_max=64)
    held = policies(StringLike={"aws:Referer": "*0"})
    wrong: list[int] = []

    def ask() -> None:
        for index in range(2_000):
            if cache.decide(held, request(Referer=str(index % 97)), generation=index // 500).allowed != (
                index % 97 % 10 == 0
            ):
                wrong.append(index)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

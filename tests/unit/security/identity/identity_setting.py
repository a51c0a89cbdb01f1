"""What the tests of identities share: a clock that stands, a judge of policies, some texts."""

from __future__ import annotations

import json

from tickvault.errors import InvalidInputError
from tickvault.security.credentials import Credentials

START_NS = 1_800_000_000_000_000_000
ROOT = Credentials("TVROOTROOTROOTROOT20", "root-secret-of-forty-characters-0123456789")
READ = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
WRITE = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}'
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}'


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time_ns = START_NS
        self.passed_ns = 0

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.passed_ns

    def move(self, seconds: float = 0, ns: int = 0) -> None:
        step = int(seconds * 1_000_000_000) + ns
        self.time_ns += step
        self.passed_ns += max(step, 0)


def compile_policy(text: str, kind: str) -> list[str]:
    """A judge that wants JSON with statements, and a principal where one belongs; it tells whom they name."""
    assert kind in ("identity", "session", "trust")
    try:
        document = json.loads(text)
        statements = document["Statement"]
        assert ("Principal" in statements[0]) == (kind == "trust")
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise InvalidInputError(f"not a policy: {error}") from None
    principals = [statement["Principal"] for statement in statements if "Principal" in statement]
    named = [each["AWS"] for each in principals if isinstance(each, dict)]
    return [arn for arn in named if "/" in arn]

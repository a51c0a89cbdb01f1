from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tickvault.doors.s3.commit import CommitBridge
from tickvault.doors.s3.message import Deferred, Outcome, Response
from tickvault.errors import BusyError, ConflictError


def refused() -> Any:
    raise ConflictError("no")


def made(outcome: Outcome) -> Response:
    return Response(200, {"Result": outcome()})


@pytest.mark.parametrize("early", [False, True])
def test_the_answer_comes_once_whoever_is_first(early: bool) -> None:
    taken: list[Response] = []
    deferred = Deferred(made)
    if early:
        deferred.settle(lambda: "a")
    deferred.then(lambda outcome: taken.append(outcome()))
    if not early:
        deferred.settle(lambda: "a")
    assert [answer.headers for answer in taken] == [{"Result": "a"}]


def test_a_wrapper_stands_before_answers_and_errors() -> None:
    def wrapper(outcome: Outcome) -> Response:
        try:
            response: Response = outcome()
        except ConflictError:
            return Response(409)
        response.headers["Wrapped"] = "yes"
        return response

    answers = []
    for outcome in (lambda: "a", refused):
        deferred = Deferred(made)
        deferred.wrap(wrapper)
        deferred.then(lambda outcome: answers.append(outcome()))
        deferred.settle(outcome)
    assert [(answer.status, answer.headers.get("Wrapped")) for answer in answers] == [(200, "yes"), (409, None)]


def test_it_may_be_awaited() -> None:
    async def main() -> None:
        deferred = Deferred(made)
        asyncio.get_running_loop().call_soon(deferred.settle, lambda: "a")
        assert (await deferred).headers == {"Result": "a"}
        deferred = Deferred(made)
        deferred.settle(refused)
        with pytest.raises(ConflictError):
            await deferred

    asyncio.run(main())


class Change:
    def __init__(self, result: str) -> None:
        self.result = result

    def cancel(self) -> bool:
        return False

    def outcome(self) -> str:
        return self.result


class Committer:
    def __init__(self) -> None:
        self.queue: list[Any] = []

    def submit(self, operation: Any, on_done: Any) -> None:
        self.queue.append((operation, on_done))

    def commit_all(self) -> None:
        for operation, on_done in self.queue:
            on_done(operation)


def test_a_waiter_that_fails_does_not_keep_the_others_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store, taken = Committer(), []

        def faulty(outcome: Outcome) -> None:
            raise ZeroDivisionError

        bridge = CommitBridge(asyncio.get_running_loop())
        bridge.submit_then(store, Change("a"), faulty)
        bridge.submit_then(store, Change("b"), lambda outcome: taken.append(outcome()))
        store.commit_all()
        await asyncio.sleep(0.05)
        assert taken == ["b"]
        assert not bridge._waits

    asyncio.run(main())
    assert "ZeroDivisionError" in caplog.text


def test_whoever_gave_up_is_not_told_again() -> None:
    async def main() -> None:
        store = Committer()
        told: list[Outcome] = []
        bridge = CommitBridge(asyncio.get_running_loop(), timeout_s=0.05)
        bridge.submit_then(store, Change("late"), told.append)
        while not told:
            await asyncio.sleep(0.01)
        with pytest.raises(BusyError):
            told[0]()
        store.commit_all()
        await asyncio.sleep(0.05)
        assert len(told) == 1

    asyncio.run(main())

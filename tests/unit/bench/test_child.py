import time

import pytest

from tickvault.bench.child import Worker, WorkerError


def test_a_failure_in_the_child_arrives_with_its_traceback_and_the_child_lives_on(tmp_path):
    with Worker("tickvault.bench.limit_worker") as worker:
        with pytest.raises(WorkerError, match="FileNotFoundError"):
            worker.call("open_raw_file", path=str(tmp_path / "none" / "file"), object_count=1)
        worker.call("open_raw_file", path=str(tmp_path / "file"), object_count=1)


def test_a_child_that_died_is_an_error_not_a_hang():
    worker = Worker("tickvault.no_such_module")
    try:
        with pytest.raises(WorkerError, match="ended with status 1"):
            worker.call("anything")
    finally:
        worker.close()


def test_a_child_in_the_middle_of_its_work_is_ended_without_reading_its_reply(tmp_path):
    worker = Worker("tickvault.bench.limit_worker")
    worker.call("open_raw_file", path=str(tmp_path / "file"), object_count=1024)
    worker.send("write_raw_file", seconds=0.5)
    started = time.monotonic()
    worker.close()
    assert time.monotonic() - started < 8

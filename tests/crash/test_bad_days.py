"""Bad days of processes and machines: forks, readers that never end, containers, busy threads, clocks that go back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from peer import OPTIONS, Peer, PeerError, body_of, peer

import tickvault as tv
from tickvault.seam.clock import SystemClock

ROOT = os.geteuid() == 0


def run_story(story: str, folder: Path) -> str:
    """Run a program on a vault in a process without other threads, and return what it printed."""
    prelude = "import os, sys\nimport tickvault as tv\nfrom peer import OPTIONS\nfolder = sys.argv[1]\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + story, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- forks

IN_CHILD = """
def in_child(call):
    pid = os.fork()
    if pid == 0:
        try:
            call()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid

def wait(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_forked_child_of_an_open_vault_reads_and_writes_beside_its_parent(tmp_path: Path) -> None:
    run_story(
        IN_CHILD
        + """
vault = tv.open(folder, options=OPTIONS)
raw = vault.create_bucket("raw")
raw.put("before", b"1")
raw.put("large", b"x" * 300_000)

def child(number):
    assert raw.get("before") == b"1"
    assert raw.get("large", start=5, end=7) == b"xx"
    for n in range(50):
        raw.put(f"child{number}/{n}", b"c" * n)
    raw.put(f"child{number}/large", b"y" * 300_000)
    try:
        raw.put("race", b"%d" % number, if_none_match=r"*")
    except tv.PreconditionFailedError:
        pass
    vault.close()

children = [in_child(lambda number=number: child(number)) for number in range(3)]
for n in range(50):
    raw.put(f"parent/{n}", b"p" * n)
for pid in children:
    wait(pid)
names = [info.key for info in raw.list()]
assert len(names) == 2 + 1 + 3 * 51 + 50, len(names)
assert all(raw.get(f"child{number}/49") == b"c" * 49 for number in range(3))
vault.close()
tv.rebuild_index(folder)
with tv.open(folder, options=OPTIONS) as again:
    assert [info.key for info in again["raw"].list()] == names
""",
        tmp_path / "vault",
    )


@pytest.mark.parametrize(
    "first", ["raw.head('before')", "list(raw.list())", "vault.buckets()", "vault.store.engine.checkpoint()",
              "vault.verify()", "vault.compact()", "raw.put('l', b'x' * 300_000)", "raw.delete('before')",
              "vault.store.engine.sync()", "raw.create_upload('u')", "vault.create_bucket('more')"]
)  # fmt: skip
def test_whatever_a_forked_child_does_first_works(tmp_path: Path, first: str) -> None:
    run_story(
        IN_CHILD
        + f"""
vault = tv.open(folder, options=OPTIONS)
raw = vault.create_bucket("raw")
raw.put("before", b"1")
wait(in_child(lambda: ({first}, raw.put("after", b"2"))))
assert raw.get("after") == b"2"
""",
        tmp_path / "vault",
    )


def test_a_child_whose_parent_died_first_loses_nothing(tmp_path: Path) -> None:
    """Story, of LMDB: a child that inherits an environment lets a second process take its lock, and a committed key
    vanished. The parent is killed; the child, which never used the vault before, and a stranger write in turns."""
    folder = tmp_path / "vault"
    go, told = os.pipe(), os.pipe()
    story = (
        IN_CHILD
        + f"""
go, told = {go[0]}, {told[1]}
vault = tv.open(folder, options=OPTIONS)
raw = vault.create_bucket("raw")
raw.put("parent", b"1")

def child():
    parent = os.getppid()
    while command := os.read(go, 1):
        raw.put("child" + command.decode(), b"c")
        os.write(told, command)
    vault.close()
    os.write(told, b"!")

in_child(child)
os.close(go)
os.kill(os.getpid(), 9)
"""
    )
    prelude = "import os, sys\nimport tickvault as tv\nfrom peer import OPTIONS\nfolder = sys.argv[1]\n"
    parent = subprocess.Popen(
        [sys.executable, "-c", prelude + story, str(folder)],
        pass_fds=(go[0], told[1]),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    os.close(go[0])
    os.close(told[1])
    assert parent.wait() == -signal.SIGKILL
    try:
        # The stranger opens after the parent's death and before the child's first use.
        with peer(folder) as stranger:
            for number in range(5):
                stranger.ask("put", "raw", f"stranger{number}", 10)
                os.write(go[1], b"%d" % number)
                assert os.read(told[0], 1) == b"%d" % number
                assert len(stranger.ask("keys", "raw")) == 1 + 2 * (number + 1)
        os.write(go[1], b"9")
        assert os.read(told[0], 1) == b"9"
        with tv.open(folder, options=OPTIONS) as vault:
            assert len(list(vault["raw"].list())) == 12
    finally:
        os.close(go[1])
        assert os.read(told[0], 1) == b"!"
        os.close(told[0])
    tv.rebuild_index(folder)
    with tv.open(folder, options=OPTIONS) as vault:
        assert len(list(vault["raw"].list())) == 12


# -- readers


def index_size(folder: Path) -> int:
    return (folder / "recent" / "data.mdb").stat().st_size


def churn(vault: tv.Vault, times: int) -> None:
    raw = vault["raw"]
    for number in range(times):
        raw.put_many([(f"k{part}", b"%d" % number) for part in range(100)])
        vault.store.engine.checkpoint()


def test_a_killed_reader_pins_no_pages_once_its_slot_was_freed(tmp_path: Path) -> None:
    """Story, of LMDB: a reader killed in a transaction pinned its pages, and the file grew with every commit."""
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault:
        vault.create_bucket("raw")
        churn(vault, 10)
        reader = Peer(tmp_path / "vault")
        reader.ask("hold", 5)
        churn(vault, 10)
        reader.kill()
        assert vault.store.engine.index.check_readers() > 0
        churn(vault, 10)
        settled = index_size(tmp_path / "vault")
        churn(vault, 60)
        assert index_size(tmp_path / "vault") <= settled * 1.5


def test_upkeep_frees_the_slots_of_killed_readers(tmp_path: Path) -> None:
    options = OPTIONS.__class__(segment_size_first=65536, segment_size_max=1 << 20, checkpoint_entries=50)
    with tv.open(tmp_path / "vault", options=options) as vault:
        vault.create_bucket("raw")
        reader = Peer(tmp_path / "vault")
        reader.ask("hold", 5)
        reader.kill()
        for number in range(500):
            vault["raw"].put(f"k{number}", b"x")
        vault.store.engine.checkpoint()
        pid = str(reader.process.pid)
        deadline = threading.Event()
        while any(line.split()[:1] == [pid] for line in vault.store.engine.index.recent.readers().splitlines()):
            vault["raw"].put("more", b"x")
            # Ends with the test's own time limit.
            deadline.wait(0.01)


def test_a_listing_that_is_never_finished_pins_no_pages(tmp_path: Path) -> None:
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put_many([(f"a{number:04d}", b"x") for number in range(3000)])
        churn(vault, 10)
        endless = raw.list()
        next(endless)
        stream = raw.read("a0000")
        churn(vault, 10)
        settled = index_size(tmp_path / "vault")
        churn(vault, 60)
        assert index_size(tmp_path / "vault") <= settled * 1.5
        assert stream.bytes() == b"x"
        assert sum(1 for _ in endless) >= 2999


def test_bytes_held_stay_true_whatever_happens_to_the_object(tmp_path: Path) -> None:
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault:
        raw = vault.create_bucket("raw")
        raw.put("small", body_of("small", 5000))
        raw.put("large", body_of("large", 400_000))
        held = [raw.get("small"), raw.get("large"), raw.get("large", start=100, end=300_000)]
        raw.delete("small")
        raw.put("large", b"now something else")
        for number in range(40):
            raw.put(f"fill{number}", b"x" * 50_000)
        vault.compact(dead_ratio_min=0.0)
    whole = body_of("large", 400_000)
    assert held == [body_of("small", 5000), whole, whole[100:300_000]]


def test_a_reader_in_another_process_goes_on_through_compactions(tmp_path: Path) -> None:
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault, peer(tmp_path / "vault") as other:
        raw = vault.create_bucket("raw")
        for round_number in range(5):
            for number in range(20):
                size = 300_000 if number == 7 else 3000
                raw.put(f"k{number}", body_of(f"k{number}", size))
            assert other.ask("check", "raw", ["k1", "k2", "k19"], 3000) == 3
            assert other.ask("check", "raw", ["k7"], 300_000) == 1
            vault.compact(dead_ratio_min=0.0)
            assert other.ask("check", "raw", ["k1", "k2", "k19"], 3000) == 3, round_number
            assert other.ask("check", "raw", ["k7"], 300_000) == 1
            assert len(other.ask("keys", "raw")) == 20


# -- containers


@pytest.mark.skipif(not ROOT, reason="needs root, to make a PID namespace")
@pytest.mark.parametrize("proc", [("--mount-proc",), ()])
def test_two_pid_namespaces_on_one_vault_are_refused_with_words(tmp_path: Path, proc: tuple[str, ...]) -> None:
    launcher = ("unshare", "--pid", "--fork", *proc)
    if subprocess.run([*launcher, "true"], capture_output=True, check=False).returncode:
        pytest.skip("cannot make a PID namespace here")
    folder = tmp_path / "vault"
    with tv.open(folder, options=OPTIONS) as vault:
        vault.create_bucket("raw").put("k", b"x")
        with pytest.raises(PeerError, match=r"FormatError.*namespace|StorageError.*/proc") as refused:
            Peer(folder, launcher)
        assert refused.value.kind != "Died"
        vault["raw"].put("k2", b"x")
    if proc:
        with peer(folder, launcher) as inside:
            assert inside.ask("keys", "raw") == ["k", "k2"]
            with pytest.raises(tv.FormatError, match="namespace"):
                tv.open(folder, options=OPTIONS)


# -- busy threads, clocks


def test_writers_go_on_beside_a_thread_that_hogs_the_interpreter(tmp_path: Path) -> None:
    stop = threading.Event()

    def hog() -> None:
        while not stop.is_set():
            sum(range(1000))

    busy = threading.Thread(target=hog)
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault, peer(tmp_path / "vault") as other:
        raw = vault.create_bucket("raw")
        busy.start()
        try:
            for number in range(100):
                raw.put(f"ours{number}", b"x")
                other.ask("put", "raw", f"theirs{number}", 10)
        finally:
            stop.set()
            busy.join()
        assert len(list(raw.list())) == 200
        assert sys.getswitchinterval() <= 0.0005


class Backwards(SystemClock):
    """A wall clock that is set back by a day each time it is asked."""

    def __init__(self) -> None:
        self._now = 1_700_000_000_000_000_000

    def now_ns(self) -> int:  # type: ignore[override]
        self._now -= 86_400_000_000_000
        return self._now


def test_a_clock_that_goes_back_changes_no_order(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    with tv.open(folder, options=OPTIONS, clock=Backwards()) as vault:
        versioned = vault.create_bucket("ticks", versioning=True)
        infos = [versioned.put("k", b"%d" % number) for number in range(5)]
        assert [info.sequence for info in infos] == sorted(info.sequence for info in infos)
        assert versioned.get("k") == b"4"
    tv.rebuild_index(folder)
    with tv.open(folder, options=OPTIONS) as vault:
        assert vault["ticks"].get("k") == b"4"
        page = vault["ticks"].list_versions_page()
        assert [bytes(vault["ticks"].get("k", version_id=one.version_id)) for one in page.versions] == [
            b"4", b"3", b"2", b"1", b"0",
        ]  # fmt: skip


# -- opening


def test_opening_twice_in_one_process_shares_and_each_closes_its_own(tmp_path: Path) -> None:
    first = tv.open(tmp_path / "vault", options=OPTIONS)
    second = tv.open(tmp_path / "vault", options=OPTIONS)
    first.create_bucket("raw").put("k", b"x")
    first.close()
    assert second["raw"].get("k") == b"x"
    with pytest.raises(tv.TickVaultError, match="open in this process"):
        tv.rebuild_index(tmp_path / "vault")
    second.close()
    tv.rebuild_index(tmp_path / "vault")


def test_a_rebuild_beside_another_process_is_refused_with_words(tmp_path: Path) -> None:
    with tv.open(tmp_path / "vault", options=OPTIONS) as vault:
        vault.create_bucket("raw")
    with peer(tmp_path / "vault"), pytest.raises(tv.TickVaultError, match="open elsewhere"):
        tv.rebuild_index(tmp_path / "vault")


def many_processes(tmp_path: Path, call: Callable[[Peer], None], count: int) -> None:
    """Start peers at the same time on a vault that may not be there yet."""
    failures: list[BaseException] = []

    def one() -> None:
        try:
            with peer(tmp_path / "vault") as made:
                call(made)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_several_processes_make_the_vault_at_the_same_time(tmp_path: Path) -> None:
    many_processes(tmp_path, lambda made: None, 4)
    with tv.open(tmp_path / "vault", create=False, options=OPTIONS) as vault:
        assert vault.buckets() == []


def test_what_is_no_vault_is_not_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(tv.NotFoundError, match="no vault"):
        tv.open(tmp_path / "vault", create=False)
    assert not (tmp_path / "vault").exists()

"""``tickvault bench security``: what being audited, encrypted and permitted costs, each beside its limit.

Invariants: what is compared runs in turns and in processes of its own, on vaults that differ in one thing only; the
trail that is measured is the one every vault writes, signed and synced; an existing vault is never written to.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tickvault.bench.child import Worker
from tickvault.bench.dataset import beginning, bodies, new_key, object_key, shuffled
from tickvault.bench.load import LoadGenerator
from tickvault.bench.places import MIB
from tickvault.bench.report import Condition, Report, Row, at_least, at_most, row_of
from tickvault.bench.rounds import Sample, Timing, alternate, timing_of
from tickvault.bench.served import ServedVault
from tickvault.bench.setting import Progress, Setting, bench_setting
from tickvault.bench.signing import RequestSigner

BUCKET = "bench-security"
CONNECTION_COUNT = 64
_FRAME_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class _Scale:
    object_count: int
    put_count: int
    block_count: int
    decision_count: int
    rounds: int
    seconds: float
    free_bytes_min: int


_FULL = _Scale(10_000, 20_000, 400, 20_000, 11, 0.7, 4096 * MIB)
_QUICK = _Scale(2_000, 2_000, 40, 2_000, 2, 0.2, 512 * MIB)


def run_security(vault_dir: str | None = None, quick: bool = False, progress: Progress = None) -> Report:
    """Measure audit, encryption and policies, in the setting that `bench_setting` makes of these arguments."""
    scale = _QUICK if quick else _FULL
    with bench_setting(vault_dir, scale.free_bytes_min, quick=quick, progress=progress) as setting:
        run = _Run(setting, scale)
        run.trail()
        run.embedded()
        run.encrypted_reads()
        run.ciphers()
        run.policies()
        run.served()
    return setting.report


class _Run:
    def __init__(self, setting: Setting, scale: _Scale) -> None:
        self._setting = setting
        self._scale = scale
        self._rows = setting.report.rows
        self._notes = setting.report.notes
        self._progress = setting.progress
        self._folder = setting.folder

    # -- the trail

    def trail(self) -> None:
        """Measure chaining and verifying."""
        from tickvault.audit.measure import measure

        self._progress("audit records, chained, signed and synced")
        figures = measure(self._folder, blocks=self._scale.block_count)
        record = f"{figures.record_bytes} bytes each"
        self._rows.append(
            _rate(
                f"audit records, encoded, chained, signed, synced by block ({record})",
                figures.appended_per_s,
                "records/s",
                at_least("rate", 250_000),
                limit=512 / (figures.sync_us / 1e6),
            )
        )
        self._notes.append("audit records: the limit is the same bytes written and synced a block at a time")
        self._rows.append(
            _rate("audit trail verified, all cores", figures.verified_per_s, "records/s", at_least("rate", 1_000_000))
        )
        self._rows.append(_one("audit record put into the ring, encoded before", figures.put_us))
        self._rows.append(_one("audit record encoded", figures.encode_us))

    # -- embedded

    def embedded(self) -> None:
        """Measure a durable put with the audit trail and without."""
        self._progress("put 4 KiB, audited and not")
        with Worker("tickvault.bench.vault_worker") as audited, Worker("tickvault.bench.vault_worker") as plain:
            for worker, audit in ((audited, True), (plain, False)):
                worker.call("open_vault", path=f"{self._folder}/vault-{audit}", name="put", audit=audit)
                worker.call("create_bucket", bucket=BUCKET, durability="strict")
                worker.call("use_bucket", bucket=BUCKET)
            without, with_audit = alternate(
                _asking(plain, "put", seconds=self._scale.seconds, busy_thread=False),
                _asking(audited, "put", seconds=self._scale.seconds, busy_thread=False),
                rounds=self._scale.rounds,
            )
            for worker in (audited, plain):
                worker.call("close_vault")
        self._rows.append(
            row_of("put 4 KiB, strict, audited; limit: not", with_audit, at_most("above_limit", 10), limit=without.p50)
        )

    def encrypted_reads(self) -> None:
        """Measure a read out of an encrypted bucket."""
        self._progress("get 4 KiB, encrypted and plain")
        count = self._scale.object_count
        suites: list[tuple[str, dict[str, Any]]] = [
            ("plain", {}),
            ("aes-256-gcm", {"encryption": "aes-256-gcm"}),
            ("sm4-gcm", {"encryption": "sm4-gcm"}),
        ]
        workers = []
        for name, options in suites:
            worker = self._setting.stack.enter_context(Worker("tickvault.bench.vault_worker"))
            worker.call("open_vault", path=f"{self._folder}/vault-{name}", name="get")
            worker.call("create_bucket", bucket=BUCKET, durability="relaxed", options=options)
            worker.call("use_bucket", bucket=BUCKET)
            worker.call("fill", count=count, size=4096, batch_count=100)
            worker.call("close_vault")
            worker.call("open_vault", path=f"{self._folder}/vault-{name}", name="get")
            worker.call("use_bucket", bucket=BUCKET)
            worker.call("expect", count=count, seed=1)
            workers.append(worker)
        plain, aes, sm4 = alternate(
            *(_asking(worker, "get", count=count // 4) for worker in workers), rounds=self._scale.rounds
        )
        for worker in workers:
            worker.call("close_vault")
        goal = at_most("above_limit", 8)
        self._rows.append(row_of("get 4 KiB, aes-256-gcm; limit: plain", aes, goal, limit=plain.p50))
        self._rows.append(row_of("get 4 KiB, sm4-gcm; limit: plain", sm4, limit=plain.p50))

    def ciphers(self) -> None:
        """Measure sealing 16 MiB, against the bare call of the library that does the work."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        from tickvault.security.cipher import AES_256_GCM, SM4_GCM, seal_body

        self._progress("sealing 16 MiB")
        body = os.urandom(_FRAME_BYTES)
        aes_key, nonce = AESGCM(bytes(32)), bytes(12)
        sm4 = SM4_GCM.aead(bytes(16))
        for suite, bare in (
            (AES_256_GCM, lambda: aes_key.encrypt(nonce, body, None)),
            # As `AESGCM.encrypt` does: one call, into memory that is made for it.
            (SM4_GCM, lambda: sm4.encrypt_into(nonce, body, b"", memoryview(bytearray(len(body) + 16)))),
        ):
            limit, ours = alternate(
                partial(_bytes_per_s, bare),
                partial(_bytes_per_s, partial(seal_body, suite, body)),
                rounds=self._scale.rounds,
            )
            self._rows.append(
                row_of(
                    f"seal 16 MiB, {suite.name} by {suite.module}; limit: the bare call",
                    ours,
                    at_least("ratio", 0.8),
                    unit="MiB/s",
                    limit=limit.rate,
                )
            )

    # -- policies

    def policies(self) -> None:
        """Measure a decision over a hundred statements."""
        from tickvault.security.policy import AccessRequest, PolicySet, Principal, parse_policy

        self._progress("policy decisions")
        policies = {name: parse_policy(text, kind="identity") for name, text in _hundred_statements()}
        user = Principal("arn:aws:iam::000000000000:user/alice", "000000000000", "alice", "AIDAALICE", "user")
        rules = PolicySet(policies)
        context = {
            "aws:SourceIp": "10.1.2.3",
            "aws:SecureTransport": "true",
            "aws:username": "alice",
            "aws:CurrentTime": "2026-11-27T10:00:00Z",
        }
        requests = [
            AccessRequest(user, action, f"arn:aws:s3:::desk-{number % 50}/ticks/XNAS/{number}", context)
            for number in range(200)
            for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion")
        ]

        def decide() -> Sample:
            latencies, clock = array("q"), time.perf_counter_ns
            first = clock()
            for number in range(self._scale.decision_count):
                request = requests[number % len(requests)]
                start = clock()
                rules.decide(request)
                latencies.append(clock() - start)
            return timing_of(latencies, clock() - first).sample

        (sample,) = alternate(decide, rounds=self._scale.rounds)
        self._rows.append(row_of("policy decision, 100 statements", sample, at_most("p50", 10)))

    # -- served

    def served(self) -> None:
        """Measure the S3 door with the audit trail and without."""
        scale = self._scale
        servers: dict[bool, ServedVault] = {}
        for audit in (True, False):
            path = f"{self._folder}/served-{audit}"
            with Worker("tickvault.bench.vault_worker") as worker:
                worker.call("open_vault", path=path, name="fill", audit=audit)
                worker.call("create_bucket", bucket=BUCKET, durability="strict")
                worker.call("use_bucket", bucket=BUCKET)
                worker.call("fill", count=scale.object_count, size=4096, batch_count=100)
                worker.call("close_vault")
            servers[audit] = self._setting.stack.enter_context(ServedVault(path, worker_count=1, audit=audit))
        load = self._setting.stack.enter_context(LoadGenerator())
        for verb in ("GET", "PUT"):
            self._progress(f"S3 {verb}, audited and not")
            turns = []
            for audit in (False, True):
                turns.append(self._served_turn(load, servers[audit], verb, audit))
            without, with_audit = alternate(*turns, rounds=scale.rounds)
            self._rows.append(
                row_of(
                    f"S3 {verb} 4 KiB, {CONNECTION_COUNT} connections, audited; limit: not",
                    with_audit,
                    at_least("ratio", 0.85),
                    unit="requests/s",
                    limit=without.rate,
                )
            )

    def _served_turn(self, load: LoadGenerator, server: ServedVault, verb: str, audit: bool) -> Callable[[], Sample]:
        signer = RequestSigner(server.access_key, server.secret_key, f"127.0.0.1:{server.port}")
        name = f"{verb}-{audit}"
        if verb == "GET":
            order = shuffled(self._scale.object_count, 1)
            load.add_batch(
                name,
                [signer.render("GET", f"/{BUCKET}/{object_key(number)}") for number in order],
                length=4096,
                beginnings=[beginning(number) for number in order],
            )
        else:
            load.add_batch(
                name,
                [
                    signer.render("PUT", f"/{BUCKET}/{new_key(name, number)}", body=body)
                    for number, body in bodies(self._scale.put_count, 4096)
                ],
                length=0,
            )

        def turn() -> Sample:
            load.set_target("127.0.0.1", server.port)
            result = load.run(name, connection_count=CONNECTION_COUNT, seconds=self._scale.seconds)
            self._notes.extend(f"{name}: {count:,} × {fault}" for fault, count in result.errors.items())
            return result.sample

        return turn


def _asking(worker: Worker, command: str, **arguments: Any) -> Callable[[], Sample]:
    return lambda: Timing.from_message(worker.call(command, **arguments)).sample


def _bytes_per_s(work: Callable[[], object]) -> Sample:
    start = time.perf_counter_ns()
    work()
    return Sample(None, None, _FRAME_BYTES / MIB * 1e9 / (time.perf_counter_ns() - start))


def _rate(name: str, rate: float, unit: str, *conditions: Condition, limit: float | None = None) -> Row:
    return row_of(name, Sample(None, None, rate), *conditions, unit=unit, limit=limit)


def _one(name: str, microseconds: float) -> Row:
    return row_of(name, Sample(microseconds, None, 1e6 / microseconds))


def _hundred_statements() -> list[tuple[str, str]]:
    """Return two policies as a trading firm has them: rights by desk, and what nobody may."""
    import json

    rng = np.random.default_rng(1)
    allow: list[dict[str, Any]] = []
    for desk in range(60):
        allow.append(
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"][: 1 + int(rng.integers(3))],
                "Resource": f"arn:aws:s3:::desk-{desk}/ticks/*",
                "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
            }
        )
    deny: list[dict[str, Any]] = []
    for desk in range(40):
        deny.append(
            {
                "Effect": "Deny",
                "Action": "s3:Delete*",
                "Resource": f"arn:aws:s3:::desk-{desk}/*",
                "Condition": {"StringNotEquals": {"aws:username": f"desk-{desk}-admin"}},
            }
        )
    found = []
    for name, statements in (("allow", allow), ("deny", deny)):
        # A managed policy has at most 10 KiB.
        for part in range(0, len(statements), 20):
            text = json.dumps({"Version": "2012-10-17", "Statement": statements[part : part + 20]})
            found.append((f"{name}-{part}", text))
    return found

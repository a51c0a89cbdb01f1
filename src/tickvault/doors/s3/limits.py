"""The limits of the S3 door: one place for everything that a client could otherwise make grow.

Invariants: every wait has an end and every buffer a size; times are seconds, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker accepts.

    The defaults leave room for what real clients send: S3 itself allows 8 KiB of headers, of which 2 KiB are
    user metadata, and keys of 1,024 bytes, which percent-encoding makes up to three times as long.
    """

    url_size_max: int = 16 * 1024
    header_size_max: int = 32 * 1024
    """Sum over all headers of name, value, and 32 bytes each."""
    header_count_max: int = 128
    connections_max: int = 32_768
    """Open connections a worker; a further one gets `SlowDown` and is closed."""
    body_inline_max: int = 256 * 1024
    """A body up to this size is collected before its operation runs; a larger one streams into it."""
    body_buffer_max: int = 1024 * 1024
    """Bytes of a streaming body held for an operation that is slower than the client."""
    body_size_max: int = 5 * 1024**3 + 64 * 1024**2
    """S3's 5 GiB a request, and room for the framing of aws-chunked."""
    drain_size_max: int = 64 * 1024
    """What is left of a refused body up to this size is read and dropped, so that the connection lives on."""
    write_buffer_max: int = 1024 * 1024
    """Response bytes waiting for a slow reader before the source of the response pauses."""
    idle_timeout_s: float = 120.0
    """Between two requests."""
    header_timeout_s: float = 20.0
    """From the first byte of a request to the end of its headers."""
    progress_timeout_s: float = 30.0
    """Within this time a body, or the taking of a response, must move on by `progress_size_min`."""
    progress_size_min: int = 4096
    linger_timeout_s: float = 1.5
    """After a refusal, so that a client that is still sending reads the answer before the connection ends."""
    linger_size_max: int = 32 * 1024**2
    """Bytes read and dropped on a connection that takes no further request; beyond it nothing more is read."""
    sweep_interval_s: float = 0.5
    """How often one timer looks for connections whose time is up."""
    commit_timeout_s: float = 5.0
    """Wait for a durable commit; beyond it the client is told `SlowDown`."""
    commits_queued_max: int = 4096
    """Commits in flight a worker; beyond it the client is told `SlowDown`."""

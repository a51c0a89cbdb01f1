"""How long to wait after a failure.

Invariants: a wait grows with each failure in a row up to a cap and is never longer than the cap unless the receiver
asks for it, and then at most `RETRY_AFTER_MAX_S`; half of it is random, so that many vaults do not come back at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickvault.seam.host import Host

RETRY_AFTER_MAX_S = 3600.0
_DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter."""

    base_s: float = 0.5
    cap_s: float = 60.0

    def wait_s(self, failures_in_row: int, host: Host, retry_after_s: float | None = None) -> float:
        """Return the wait after the n-th failure in a row, n from 1, seconds.

        Parameters
        ----------
        failures_in_row : int
            1 after the first failure.
        host : Host
            Gives the randomness.
        retry_after_s : float, optional
            What the receiver asked for; it is waited at least, up to `RETRY_AFTER_MAX_S`.
        """
        full = min(self.cap_s, self.base_s * float(1 << min(failures_in_row - 1, _DOUBLINGS_MAX)))
        wait = full * (0.5 + host.random_u64() / 2**65)
        if retry_after_s is not None:
            wait = max(wait, min(retry_after_s, RETRY_AFTER_MAX_S))
        return wait

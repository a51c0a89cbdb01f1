"""What every verb of identities needs: the documents, the sealer, the judge of policies, the clock, the limits.

Invariants: nothing here changes after it was made but counts that are hints; whatever is sealed is bound to the vault
and to what it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tickvault.errors import InvalidInputError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.security.credentials import Credentials
from tickvault.security.documents import Documents
from tickvault.security.identity.limits import (
    IDENTITY_POLICY_SIZE_MAX,
    SESSION_POLICY_SIZE_MAX,
    TRUST_POLICY_SIZE_MAX,
    Limits,
)
from tickvault.security.identity.names import check_name
from tickvault.security.identity.sealer import Sealer

PolicyCompiler = Callable[[str, str], Iterable[str]]
"""Takes a policy text and its kind (``identity``, ``session``, ``trust``), and returns the ARNs of the identities that
it names as principals; raises `InvalidInputError` for a bad one."""

_SIZE_MAX = {
    "identity": IDENTITY_POLICY_SIZE_MAX,
    "session": SESSION_POLICY_SIZE_MAX,
    "trust": TRUST_POLICY_SIZE_MAX,
}


class Registry:
    """Where the verbs find what they work on."""

    def __init__(
        self,
        documents: Documents,
        sealer: Sealer,
        compile_policy: PolicyCompiler,
        *,
        vault_id: str = "",
        root: Credentials | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        built_in_policies: Mapping[str, str] | None = None,
    ) -> None:
        self.documents = documents
        self.sealer = sealer
        self.compile_policy = compile_policy
        self.vault_id = vault_id
        self.root = root
        self.limits = limits if limits is not None else Limits()
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.built_in_policies = dict(built_in_policies or {})
        self.built_in_names = {check_name("policy", name).lower() for name in self.built_in_policies}
        if len(self.built_in_names) != len(self.built_in_policies):
            raise InvalidInputError("built-in policies: two names differ in case only")
        #: Per kind of identity how many there were, and when that was counted (monotonic).
        self.counted: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of vault {self.vault_id or '?'}>"

    def binding(self, *parts: str) -> bytes:
        """Return what a sealed blob is bound to; no two lists of parts give the same."""
        encoded = [part.encode() for part in ("tickvault", self.vault_id, *parts)]
        return b"".join(len(part).to_bytes(4, "little") + part for part in encoded)

    def check_policy(self, text: str, kind: str, what: str) -> str:
        """Return a policy text if it is one.

        Raises
        ------
        InvalidInputError
            It is too large, or not a policy of this kind.
        """
        if not isinstance(text, str):
            raise InvalidInputError(f"{what}: must be JSON text, was {type(text).__name__}")
        # Characters first: encoding something huge would cost what the limit is there to save.
        size_max = _SIZE_MAX[kind]
        if len(text) > size_max or len(text.encode("utf-8", "surrogatepass")) > size_max:
            raise InvalidInputError(f"{what}: has more than {size_max} bytes; split it, or use wildcards")
        self.compile_policy(text, kind)
        return text

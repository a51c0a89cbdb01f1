"""From an access key to who signs with it.

Invariants: a secret is never part of a representation or an error; an access key that was disabled, deleted or
changed by any process is refused, or has its new rights, from the next request on; a temporary access key is known
with its token only, and a lasting one without any.
"""

from __future__ import annotations

from collections.abc import Callable

from tickvault.doors.s3.errors import S3Error
from tickvault.objects.identities import Rights, rights_of
from tickvault.security.identity import Credential, CredentialRefusedError, Identities, Principal, Secret
from tickvault.security.identity.credential import PolicyTexts
from tickvault.security.identity.names import ACCOUNT_ID, ROOT_ARN

#: Returns the secret of an access key of the root, None for one that is not the root's.
SecretFor = Callable[[str], str | None]

#: Signers kept; one that was dropped is made again.
SIGNERS_MAX = 4096


class Signer:
    """One who signs requests, until anything about them changes."""

    __slots__ = ("access_key", "credential", "identity", "rights", "secret")

    def __init__(self, credential: Credential) -> None:
        self.access_key = credential.access_key_id
        self.secret = credential.secret.reveal()
        self.credential = credential
        self.identity = credential.identity_arn
        """ARN, for the audit trail: of a service account its own."""
        self.rights: Rights = rights_of(credential)

    def __repr__(self) -> str:
        return f"<Signer {self.identity} with {self.access_key}>"


#: Finds who signs with an access key and the token that came with it; raises `S3Error`.
Find = Callable[[str, str | None], Signer]


def root_signer(access_key: str, secret: str) -> Signer:
    """Return the root of the vault as one who signs."""
    principal = Principal(ROOT_ARN, ACCOUNT_ID, "", ACCOUNT_ID, "root", {}, ())
    return Signer(
        Credential(
            access_key, Secret(secret), principal, PolicyTexts(), None, identity_arn=ROOT_ARN, owner_id=ACCOUNT_ID
        )
    )


class Signers:
    """Finds who signs with an access key.

    Parameters
    ----------
    secret_for : callable
        The secret of the root's access key.
    identities : Identities, optional
        All the others; None: there are none.
    """

    def __init__(self, secret_for: SecretFor, identities: Identities | None = None) -> None:
        self._secret_for = secret_for
        self._identities = identities
        self._signers: dict[str, Signer] = {}

    def find(self, access_key: str, token: str | None) -> Signer:
        """Return who signs with an access key.

        Raises
        ------
        S3Error
            ``InvalidAccessKeyId``, ``ExpiredToken``, ``InvalidToken``, or ``AccessDenied`` for one whose rights
            cannot be known.
        """
        known = self._signers.get(access_key)
        secret = self._secret_for(access_key)
        if secret is not None:
            if token is not None:
                raise S3Error("InvalidToken")
            if known is None or known.secret != secret:
                known = self._keep(root_signer(access_key, secret))
            return known
        if self._identities is None:
            raise S3Error("InvalidAccessKeyId", None, AWSAccessKeyId=access_key)
        try:
            credential = self._identities.find(access_key, token)
            # As long as nothing changed that it depends on, the same credential is found.
            if known is not None and known.credential is credential:
                return known
            return self._keep(Signer(credential))
        except CredentialRefusedError as refused:
            self._signers.pop(access_key, None)
            unknown = refused.s3_code == "InvalidAccessKeyId"
            raise S3Error(refused.s3_code, None, AWSAccessKeyId=access_key if unknown else None) from None

    def _keep(self, signer: Signer) -> Signer:
        if len(self._signers) >= SIGNERS_MAX:
            self._signers.clear()
        self._signers[signer.access_key] = signer
        return signer

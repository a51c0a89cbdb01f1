"""Whom a policy names, by their unique ids: so that nobody inherits from one whose name they were given.

Invariants: the ids are those of the moment at which the policy is written; one of this vault who is not there then is
an error, since whoever is made later under that name would be meant by accident.

Source: IAM User Guide, "AWS JSON policy elements: Principal": AWS keeps the unique id in place of the ARN.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tickvault.errors import InvalidInputError
from tickvault.security.documents import Documents
from tickvault.security.identity.model import Role, ServiceAccount, User
from tickvault.security.identity.names import ACCOUNT_ID
from tickvault.security.identity.reading import Reading

_ARN = re.compile(
    rf"arn:aws:(?:iam::{ACCOUNT_ID}:(user|role|service-account)/([^/]+)|sts::{ACCOUNT_ID}:assumed-role/([^/]+)/[^/]+)",
    re.ASCII,
)


def principal_ids(documents: Documents, arns: Iterable[str], what: str) -> dict[str, str]:
    """Return the unique ids of identities, by ARN; those of other accounts have none here.

    Parameters
    ----------
    what : str
        Who asks, for messages.

    Raises
    ------
    InvalidInputError
        There is no such user, role or service account.
    """
    reading = Reading(documents)
    found: dict[str, str] = {}
    for arn in sorted(arns):
        match = _ARN.fullmatch(arn)
        if match is None:
            continue
        entity: User | Role | ServiceAccount | None
        kind, name = (match[1], match[2]) if match[1] else ("role", match[3])
        if kind == "user":
            entity = reading.user(name)
        elif kind == "role":
            entity = reading.role(name)
        else:
            entity = reading.service_account(name)
        if entity is None:
            raise InvalidInputError(
                f"{what}: invalid principal {arn!a:.140}: there is no {kind.replace('-', ' ')} of that name; make it "
                "first, then name it"
            )
        found[arn] = entity.id
    return found

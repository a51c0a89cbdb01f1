"""`tickvault iam simulate`: may somebody do something, and why.

Invariants: the answer is that of the same decision that a server makes, from the policies and ACLs as they are now;
what could not be weighed is said; nothing is done and nobody is asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, parse_pairs, vault_option
from tickvault.errors import EXIT_CODES, AccessDeniedError, BucketNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.bucket_rules import Rules
    from tickvault.objects.model import BucketInfo
    from tickvault.security.identity import CredentialRefusedError
    from tickvault.security.policy import AccessRequest, Decision, Explanation
    from tickvault.vault import Vault

_ARN = "arn:aws:s3:::"
_ROLE = ":role/"
#: Refusals of somebody who is there: the answer to the question, not a fault in it.
_ANSWERS = ("disabled", "expired", "revoked")
_SERVER = "a server that was started with --allow-anonymous"
_VERSION = "s3:versionid"


class _Answer(NamedTuple):
    """What was found: the policies' decision, and what else has a say."""

    found: Explanation
    acl_opens: bool
    """What no policy allows, a canned ACL opens to everyone."""
    notes: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        return self.found.decision.allowed or self.acl_opens


class _Place(NamedTuple):
    """The bucket that is asked about, as it is now."""

    bucket: Bucket
    settings: BucketInfo
    rules: Rules | None
    key: str


@click.command()
@click.option("--identity", metavar="ARN|KEY", required=True, help="Who: an ARN, an access key, or anonymous.")
@click.option("--action", metavar="ACTION", required=True, help="What, such as s3:GetObject.")
@click.option("--resource", metavar="BUCKET[/KEY]|ARN", default="*", help="On what; without it, all of S3.")
@click.option(
    "--context", "pairs", multiple=True, metavar="KEY=VALUE", help="A condition key, such as aws:SourceIp=10.0.0.7."
)
@click.option("--no-anonymous", is_flag=True, help="As on a server that was started without --allow-anonymous.")
@vault_option
@json_option
def simulate(
    *,
    identity: str,
    action: str,
    resource: str,
    pairs: tuple[str, ...],
    no_anonymous: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Say whether somebody may do something.

    Say whether somebody may do something, and what each policy statement says of it.

    Policies of the identity, its boundary and the policy of the bucket are weighed as a server does, and where they
    allow nothing, the canned ACL of the bucket or the object, which a server with --allow-anonymous goes by. A
    condition sees the time, the identity, and what --context gives; s3:VersionId names the version whose ACL is meant.
    Ends with exit status 0 if it is allowed, and 7, that of a missing right, if not; nothing is allowed to who is
    disabled.

    \b
    Examples:
      tickvault iam simulate --identity arn:aws:iam::000000000000:user/alice --action s3:GetObject --resource raw/ES/1
      tickvault iam simulate --identity anonymous --action s3:ListBucket --resource raw --context s3:prefix=ES/
    """
    from tickvault.security.identity import CredentialRefusedError

    given = parse_pairs(pairs, "--context")
    with open_vault(vault_dir) as vault:
        try:
            answer = _explained(vault, identity, action, resource, given, anonymous=not no_anonymous)
        except CredentialRefusedError as error:
            if error.refusal.value not in _ANSWERS:
                raise
            _refused(error, identity, action, resource, as_json=as_json)
    if as_json:
        terminal.answer_json(_record(answer))
    else:
        for line in _text(answer):
            terminal.answer(terminal.printable(line))
    if not answer.allowed:
        raise click.exceptions.Exit(EXIT_CODES[AccessDeniedError])


def _refused(error: CredentialRefusedError, identity: str, action: str, resource: str, *, as_json: bool) -> NoReturn:
    """Answer that nothing is allowed to somebody, whatever their policies say."""
    reason = f"{error.refusal.value}: {error}"
    arn = _resource_arn(resource)
    if as_json:
        nothing = {"policy": "", "statement": "", "findings": []}
        asked = {"identity": identity, "action": action, "resource": arn}
        terminal.answer_json({**asked, "allowed": False, "reason": reason, **nothing})
    else:
        terminal.answer(terminal.printable(f"{identity} asks {action} on {arn}"))
        terminal.answer(terminal.printable(f"DENIED: {reason}"))
    raise click.exceptions.Exit(EXIT_CODES[AccessDeniedError])


def _resource_arn(resource: str) -> str:
    from tickvault.security.policy import SERVICE_RESOURCE

    if resource == "*":
        return SERVICE_RESOURCE
    return resource if resource.startswith("arn:") else f"{_ARN}{resource}"


def _explained(
    vault: Vault, identity: str, action: str, resource: str, given: dict[str, str], *, anonymous: bool
) -> _Answer:
    from tickvault.doors.s3.authorization.everyone import answered
    from tickvault.objects.condition_keys import moment_keys
    from tickvault.objects.identities import rights_named, trust_of
    from tickvault.security.policy import AccessRequest, Decision, Reason, explain, find_action

    known = find_action(action)
    if known is None:
        raise InvalidInputError(f"--action {action}: there is no such action; docs/reference/policies.md has them")
    rights = rights_named(vault.identities, identity)
    arn = _resource_arn(resource)
    lowered = {key.lower() for key in given}
    moment = {key: value for key, value in moment_keys(time.time()).items() if key.lower() not in lowered}
    request = AccessRequest(rights.principal, known.name, arn, {**moment, **given})
    if known.name == "sts:AssumeRole":
        role = vault.identities.get_role(arn.rpartition(_ROLE)[2])
        found = explain(rights.policies, request._replace(resource=role.arn), trust_policy=trust_of(role))
        return _Answer(found, False, ())
    name = arn.removeprefix(_ARN).partition("/")[0] if arn.startswith(_ARN) else ""
    place = _place(vault, arn) if name and name != "*" else None
    rules = None if place is None else place.rules
    found = explain(rights.policies, request, None if rules is None else rules.policy)
    decision = answered(found.decision, rights.principal, rules)
    notes = []
    if name and name != "*" and place is None and known.name != "s3:CreateBucket":
        notes.append(f"there is no bucket {name}: no policy and no ACL of it was weighed")
    unsigned = rights.principal.kind == "anonymous"
    if unsigned and not anonymous:
        decision = Decision(False, decision.reason if not decision.allowed else Reason.NO_ALLOW)
        notes.append(f"unsigned requests are let in by {_SERVER} only")
    elif unsigned and decision.allowed:
        notes.append(f"only {_SERVER} answers unsigned requests")
    found = found._replace(decision=decision)
    if decision.allowed or place is None or not anonymous:
        return _Answer(found, False, tuple(notes))
    opens, note = _weigh_acl(place, request, decision)
    return _Answer(found, opens, (*notes, note) if note else tuple(notes))


def _place(vault: Vault, arn: str) -> _Place | None:
    from tickvault.objects.bucket_rules import BucketRules

    name, _, key = arn.removeprefix(_ARN).partition("/")
    try:
        bucket = vault.store.bucket(name)
        settings = bucket.info
    except BucketNotFoundError:
        return None
    bucket.embedded = False  # to ask what would happen reads nothing that the audit trail should tell of
    return _Place(bucket, settings, BucketRules().of(settings), key)


def _weigh_acl(place: _Place, request: AccessRequest, decision: Decision) -> tuple[bool, str]:
    """Return whether a canned ACL opens what no policy allows, and what to say of it."""
    from tickvault.doors.s3.authorization.everyone import ACTIONS_OPENED_BY_ACL, acls_count
    from tickvault.doors.s3.canned_acl import is_public
    from tickvault.objects.condition_keys import stored

    whose = ACTIONS_OPENED_BY_ACL.get(request.action)
    if whose is None:
        return False, ""
    acl: object
    if whose == "bucket":
        acl = place.settings.documents.get("acl") or "private"
    else:
        version_id = None
        if request.action.endswith("Version"):
            version_id = next((str(value) for key, value in request.context.items() if key.lower() == _VERSION), None)
            if not version_id:
                return False, "no version is named, so that no ACL was weighed; give --context s3:VersionId=ID"
        info = stored(place.bucket, place.key, version_id) if place.key else None
        if info is None:
            return False, "there is no such object, so that no ACL was weighed; one that is public would open it"
        acl = info.headers.get("x-amz-acl", "private")
    if not is_public(acl):
        return False, f"the ACL of the {whose}, {acl}, opens nothing"
    if acls_count(decision, place.rules):
        return True, f"the ACL of the {whose}, {acl}, opens it to everyone on {_SERVER}"
    why = "a statement denies it" if place.rules is None or not place.rules.block.ignore_public_acls else ""
    return False, f"the ACL of the {whose}, {acl}, opens nothing: {why or 'the bucket ignores public ACLs'}"


def _text(answer: _Answer) -> list[str]:
    lines = answer.found.text().splitlines()
    if answer.acl_opens:
        lines[1] = f"ALLOWED: {answer.notes[-1]}"
    rest = answer.notes[:-1] if answer.acl_opens else answer.notes
    return [*lines, *(f"  note      {note}" for note in rest)]


def _record(answer: _Answer) -> dict[str, Any]:
    request, decision = answer.found.request, answer.found.decision
    return {
        "identity": request.principal.arn or "anonymous",
        "action": request.action,
        "resource": request.resource,
        "allowed": answer.allowed,
        "reason": answer.notes[-1] if answer.acl_opens else str(decision.reason),
        "policy": decision.policy,
        "statement": decision.sid,
        "opened_by_acl": answer.acl_opens,
        "notes": list(answer.notes),
        "findings": [
            {
                "policy": each.policy,
                "statement": each.sid,
                "effect": each.effect,
                "matched": each.matched,
                "why": each.why,
            }
            for each in answer.found.findings
        ],
    }

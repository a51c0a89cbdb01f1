"""`tickvault iam simulate`: may somebody do something, and why.

Invariants: the answer is that of the same decision that a server makes, from the policies as they are now; nothing is
done and nobody is asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, parse_pairs, vault_option
from tickvault.errors import EXIT_CODES, AccessDeniedError, BucketNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from tickvault.objects.identities import Rights
    from tickvault.security.identity import CredentialRefusedError
    from tickvault.security.policy import Explanation, Policy
    from tickvault.vault import Vault

_ARN = "arn:aws:s3:::"
_ROLE = ":role/"
#: Refusals of somebody who is there: the answer to the question, not a fault in it.
_ANSWERS = ("disabled", "expired", "revoked")


@click.command()
@click.option("--identity", metavar="ARN|KEY", required=True, help="Who: an ARN, an access key, or anonymous.")
@click.option("--action", metavar="ACTION", required=True, help="What, such as s3:GetObject.")
@click.option("--resource", metavar="BUCKET[/KEY]|ARN", default="*", help="On what; without it, all of S3.")
@click.option(
    "--context", "pairs", multiple=True, metavar="KEY=VALUE", help="A condition key, such as aws:SourceIp=10.0.0.7."
)
@vault_option
@json_option
def simulate(
    *, identity: str, action: str, resource: str, pairs: tuple[str, ...], vault_dir: str, as_json: bool
) -> None:
    """Say whether somebody may do something.

    Say whether somebody may do something, and what each policy statement says of it.

    Policies of the identity, its boundary and the policy of the bucket are weighed as a server does. A condition sees
    the time, the identity, and what --context gives. Ends with exit status 0 if it is allowed, and 7, that of a missing
    right, if not; nothing is allowed to who is disabled.

    \b
    Examples:
      tickvault iam simulate --identity arn:aws:iam::000000000000:user/alice --action s3:GetObject --resource raw/ES/1
      tickvault iam simulate --identity anonymous --action s3:ListBucket --resource raw --context s3:prefix=ES/
    """
    from tickvault.security.identity import CredentialRefusedError

    given = parse_pairs(pairs, "--context")
    with open_vault(vault_dir) as vault:
        try:
            found = _explained(vault, identity, action, resource, given)
        except CredentialRefusedError as error:
            if error.refusal.value not in _ANSWERS:
                raise
            _refused(error, identity, action, resource, as_json=as_json)
    if as_json:
        terminal.answer_json(_record(found))
    else:
        for line in found.text().splitlines():
            terminal.answer(terminal.printable(line))
    if not found.decision.allowed:
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


def _explained(vault: Vault, identity: str, action: str, resource: str, given: dict[str, str]) -> Explanation:
    from tickvault.objects.condition_keys import moment_keys
    from tickvault.objects.identities import trust_of
    from tickvault.security.policy import AccessRequest, explain, find_action

    known = find_action(action)
    if known is None:
        raise InvalidInputError(f"--action {action}: there is no such action; docs/reference/policies.md has them")
    rights = _rights(vault, identity)
    arn = _resource_arn(resource)
    lowered = {key.lower() for key in given}
    moment = {key: value for key, value in moment_keys(time.time()).items() if key.lower() not in lowered}
    request = AccessRequest(rights.principal, known.name, arn, {**moment, **given})
    if known.name == "sts:AssumeRole":
        role = vault.identities.get_role(arn.rpartition(_ROLE)[2])
        return explain(rights.policies, request._replace(resource=role.arn), trust_policy=trust_of(role))
    return explain(rights.policies, request, _bucket_policy(vault, rights, arn))


def _rights(vault: Vault, identity: str) -> Rights:
    from tickvault.objects.identities import rights_named

    return rights_named(vault.identities, identity)


def _bucket_policy(vault: Vault, rights: Rights, arn: str) -> Policy | None:
    from tickvault.objects.bucket_rules import BucketRules

    name = arn.removeprefix(_ARN).partition("/")[0]
    if not arn.startswith(_ARN) or name == "*":
        return None
    try:
        rules = BucketRules().of(vault.store.bucket(name).info)
    except BucketNotFoundError:
        return None
    if rules is None or rules.policy is None:
        return None
    return rules.block.policy_for(rights.principal, rules.policy)


def _record(found: Explanation) -> dict[str, Any]:
    request, decision = found.request, found.decision
    return {
        "identity": request.principal.arn or "anonymous",
        "action": request.action,
        "resource": request.resource,
        "allowed": decision.allowed,
        "reason": str(decision.reason),
        "policy": decision.policy,
        "statement": decision.sid,
        "findings": [
            {
                "policy": each.policy,
                "statement": each.sid,
                "effect": each.effect,
                "matched": each.matched,
                "why": each.why,
            }
            for each in found.findings
        ],
    }

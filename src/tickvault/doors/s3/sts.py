"""STS at ``POST /``: AssumeRole, GetSessionToken and GetCallerIdentity.

A request is a form, signed for the service ``sts`` over its body, so that who sent it is known once the body is there.

Invariants: nothing is answered before the signature over the very body was checked; a parameter that would narrow or
mark a session and is not offered is refused, never ignored; secrets and tokens stand in the answer and nowhere else;
the API of IAM is not offered over HTTP.

Source: AWS Security Token Service API Reference, the operations of those names, "Common Errors".
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from tickvault.doors.s3.addressing import Target
from tickvault.doors.s3.auditing import caller_of
from tickvault.doors.s3.authorization.condition_keys import origin_keys
from tickvault.doors.s3.authorization.refusal import message
from tickvault.doors.s3.authorization.signer import Signer
from tickvault.doors.s3.context import Context
from tickvault.doors.s3.errors import S3Error, as_s3_error
from tickvault.doors.s3.message import Request, Response
from tickvault.doors.s3.sigv4 import Authenticator
from tickvault.doors.s3.xml import escape, tag
from tickvault.engine.attribution import set_caller
from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.objects.condition_keys import moment_keys
from tickvault.objects.identities import decide_trust
from tickvault.security.identity import Identities, Session
from tickvault.security.identity.names import ACCOUNT_ID
from tickvault.security.policy import AccessRequest, Reason, parse_policy

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
#: A session policy of 2,048 characters, percent-encoded, and the rest.
FORM_SIZE_MAX = 32 * 1024
FIELD_COUNT_MAX = 64
_VERSION = "2011-06-15"
_ROLE_ARN = re.compile(rf"arn:aws:iam::{ACCOUNT_ID}:role/([A-Za-z0-9_+=,.@-]+)")
_NS = 1_000_000_000

#: S3's codes that STS calls by other names -> its name and status.
_CODES = {
    "InvalidAccessKeyId": ("InvalidClientTokenId", 403),
    "InvalidToken": ("InvalidClientTokenId", 403),
    "ExpiredToken": ("ExpiredToken", 403),
    "AuthorizationHeaderMalformed": ("IncompleteSignature", 400),
    "RequestTimeTooSkewed": ("SignatureDoesNotMatch", 403),
    "SlowDown": ("ServiceUnavailable", 503),
}

#: Services that clients of a store ask for, and where to go instead.
_NOT_OFFERED = {
    "iam": "The API of IAM is not offered over HTTP; use tickvault iam.",
    "kms": "This server has no KMS interface: make and manage keys with tickvault keys, and name one by its id "
    "(x-amz-server-side-encryption-aws-kms-key-id).",
}
_SCOPE = re.compile(r"Credential=[^,\s]{1,256}/([a-z0-9-]{1,64})/aws4_request")

Form = Mapping[str, str]


async def answer_sts(context: Context, request: Request) -> Response:
    """Answer a request of STS."""
    try:
        return await _answer(context, request)
    except Exception as error:
        return _failed(request, error)


async def _answer(context: Context, request: Request) -> Response:
    if request.query:
        raise S3Error("InvalidRequest", "A request of STS has its parameters in its body.")
    authorization = request.headers.get("authorization")
    if authorization is None:
        raise S3Error("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)
    service = _service(authorization)
    if service not in ("sts", "s3", ""):
        raise S3Error("NotImplemented", _NOT_OFFERED.get(service, f"Only S3 and STS are offered here, not {service}."))
    try:
        body = await request.body.read(FORM_SIZE_MAX)
    except S3Error as error:
        if error.code == "EntityTooLarge":
            raise S3Error("ValidationError", f"The request has more than {FORM_SIZE_MAX} bytes.") from None
        raise
    identity = Authenticator(context.find, clock=context.clock).authenticate(
        request.method,
        Target(request.path, request.path, {}, []),
        request.headers,
        service="sts",
        payload_sha256=hashlib.sha256(body).hexdigest(),
    )
    signer = identity.signer
    assert signer is not None, "an authenticator that lets nobody through unsigned knows who signed"
    request.signer, request.access_key, request.identity = signer, signer.access_key, signer.identity
    request.caller = None  # nobody knew who it was when the request began
    form = _form(request, bytes(body))
    action = form.get("Action", "")
    if form.get("Version", _VERSION) != _VERSION:
        raise S3Error("NotImplemented", f"Of Amazon's APIs, only S3 and STS {_VERSION} are offered here.")
    operation = OPERATIONS.get(action)
    if operation is None:
        raise S3Error("NotImplemented", f"The operation {action[:64]!a} of STS is not offered.")
    perform, known = operation
    for name in form:
        if name not in known and name not in ("Action", "Version"):
            raise S3Error("NotImplemented", f"The parameter {name[:64]!a} of {action} is not offered.")
    request.action = action
    set_caller(caller_of(request))
    content = await context.in_thread(perform, context, request, signer, form)
    return _document(f"{action}Response", f"<{action}Result>{content}</{action}Result>", request)


def _service(authorization: str) -> str:
    """Return the service that a request says it was signed for."""
    found = _SCOPE.search(authorization)
    return found[1] if found is not None else ""


def _get_caller_identity(context: Context, request: Request, signer: Signer, form: Form) -> str:
    """Tell who signs; needs no right, as at AWS."""
    principal = signer.rights.principal
    return f"{tag('Arn', signer.identity)}{tag('UserId', principal.user_id)}{tag('Account', principal.account_id)}"


def _get_session_token(context: Context, request: Request, signer: Signer, form: Form) -> str:
    """Begin a session of a user; needs no right, but a Deny stops it, so that keys can be kept from it."""
    rights = signer.rights
    resource = f"arn:aws:iam::{ACCOUNT_ID}:*"
    keys = {**moment_keys(context.clock()), **origin_keys(request)}
    decision = rights.policies.decide(AccessRequest(rights.principal, "sts:GetSessionToken", resource, keys))
    if not decision.allowed and decision.reason is Reason.EXPLICIT_DENY:
        raise S3Error("AccessDenied", message(rights.principal, "sts:GetSessionToken", resource, decision))
    identities = _identities(context)
    seconds = _seconds(form)
    if seconds is None:
        return _credentials(identities.get_session_token(signer.credential))
    return _credentials(identities.get_session_token(signer.credential, duration_s=seconds))


def _assume_role(context: Context, request: Request, signer: Signer, form: Form) -> str:
    """Begin a session of a role."""
    arn = _required(form, "RoleArn")
    found = _ROLE_ARN.fullmatch(arn)
    if found is None:
        raise S3Error("ValidationError", f"RoleArn {arn[:80]!a} is no role of account {ACCOUNT_ID}.")
    name = _required(form, "RoleSessionName")
    policy = form.get("Policy")
    if policy is not None:
        try:
            parse_policy(policy, kind="session")
        except InvalidInputError as error:
            raise S3Error("MalformedPolicyDocument", str(error)) from None
    try:
        session = _identities(context).assume_role(
            signer.credential,
            found[1],
            name,
            decide=decide_trust,
            duration_s=_seconds(form),
            session_policy=policy,
            external_id=form.get("ExternalId"),
            context={**moment_keys(context.clock()), **origin_keys(request)},  # type: ignore[dict-item]
        )
    except AccessDeniedError:
        # One answer for a role that is not there and one that does not trust.
        raise S3Error(
            "AccessDenied", f"User: {signer.identity} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        ) from None
    user = f"{tag('AssumedRoleId', session.principal_id)}{tag('Arn', session.arn)}"
    return f"{_credentials(session)}<AssumedRoleUser>{user}</AssumedRoleUser>"


_Operation = Callable[[Context, Request, Signer, Form], str]
#: Operation -> what performs it, and its parameters.
OPERATIONS: Mapping[str, tuple[_Operation, frozenset[str]]] = {
    "AssumeRole": (
        _assume_role,
        frozenset({"RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId"}),
    ),
    "GetCallerIdentity": (_get_caller_identity, frozenset()),
    "GetSessionToken": (_get_session_token, frozenset({"DurationSeconds"})),
}


def _identities(context: Context) -> Identities:
    if context.identities is None:
        raise S3Error("AccessDenied")
    return context.identities


def _form(request: Request, body: bytes) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise S3Error("InvalidRequest", "Content-Type must be application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=FIELD_COUNT_MAX,
        )
    except ValueError:
        raise S3Error("ValidationError", f"The body is no form of at most {FIELD_COUNT_MAX} fields in UTF-8.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise S3Error("ValidationError", "A parameter stands twice.")
    return form


def _required(form: Form, name: str) -> str:
    value = form.get(name)
    if not value:
        raise S3Error("ValidationError", f"The parameter {name} is required.")
    return value


def _seconds(form: Form) -> int | None:
    text = form.get("DurationSeconds")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise S3Error("ValidationError", "DurationSeconds must be a number.")
    return int(text)


def _credentials(session: Session) -> str:
    return (
        f"<Credentials>{tag('AccessKeyId', session.access_key_id)}{tag('SecretAccessKey', session.secret.reveal())}"
        f"{tag('SessionToken', session.session_token.reveal())}"
        f"{tag('Expiration', time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(session.expires_ns // _NS)))}"
        "</Credentials>"
    )


def _document(name: str, content: str, request: Request, status: int = 200, code: str = "") -> Response:
    metadata = f"<ResponseMetadata>{tag('RequestId', request.request_id)}</ResponseMetadata>"
    if status != 200:
        metadata = tag("RequestId", request.request_id)
    body = f'<{name} xmlns="{NAMESPACE}">{content}{metadata}</{name}>'
    headers = {"Content-Type": "text/xml", "Cache-Control": "no-store"}
    return Response(status, headers, body.encode(), error=code)


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, InvalidInputError):
        error = S3Error("ValidationError", str(error))
    elif isinstance(error, AccessDeniedError):
        error = S3Error("AccessDenied", str(error))
    failure = as_s3_error(error)
    code, status = _CODES.get(failure.code, (failure.code, failure.status))
    if "x-amz-target" in request.headers:
        # Clients of services whose operations stand in this header read JSON, and would show nothing of XML.
        told = json.dumps({"__type": code, "message": failure.message}).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code, "Cache-Control": "no-store"}
        return Response(status, headers, told, error=code)
    kind = "Sender" if status < 500 else "Receiver"
    content = f"<Error>{tag('Type', kind)}{tag('Code', code)}<Message>{escape(failure.message)}</Message></Error>"
    answer = _document("ErrorResponse", content, request, status, code)
    answer.reason = failure.message if status == 403 else ""
    return answer

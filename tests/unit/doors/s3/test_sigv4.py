from __future__ import annotations

import datetime
import hashlib
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from raw_client import ACCESS_KEY, SECRET_KEY

from tickvault.doors.s3.addressing import split_target
from tickvault.doors.s3.authorization.signer import Signers, root_signer
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.signing_key import SigningKey
from tickvault.doors.s3.sigv4 import ANONYMOUS, EMPTY_SHA256, Authenticator, Identity

HOST = "door.example:9000"
#: The moment of the examples in Amazon's documentation.
MAY_2013 = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC).timestamp()


class Signed:
    """A request as botocore signed it."""

    def __init__(
        self,
        method: str = "GET",
        target: str = "/bucket/key",
        headers: dict[str, str] | None = None,
        *,
        region: str = "us-east-1",
        expires: int | None = None,
        access_key: str = ACCESS_KEY,
        secret: str = SECRET_KEY,
    ) -> None:
        request = AWSRequest(method=method, url=f"http://{HOST}{target}", headers=headers or {})
        credentials = Credentials(access_key, secret)
        if expires is None:
            S3SigV4Auth(credentials, "s3", region).add_auth(request)
        else:
            S3SigV4QueryAuth(credentials, "s3", region, expires=expires).add_auth(request)
        prepared = request.prepare()
        parts = urlsplit(prepared.url)
        self.method = method
        self.target = parts.path + (f"?{parts.query}" if parts.query else "")
        self.headers = {name.lower(): value for name, value in prepared.headers.items()} | {"host": HOST}

    def check(self, authenticator: Authenticator) -> Identity:
        return authenticator.authenticate(self.method, split_target(self.target.encode()), self.headers)


def door(clock: float | None = None, *, allow_anonymous: bool = False) -> Authenticator:
    options = {} if clock is None else {"clock": lambda: clock}
    return Authenticator(Signers({ACCESS_KEY: SECRET_KEY}.get).find, allow_anonymous=allow_anonymous, **options)


def refusal(request: Signed, authenticator: Authenticator | None = None) -> str:
    with pytest.raises(S3Error) as caught:
        request.check(authenticator or door())
    return caught.value.code


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
#: Names that mean something to the signature itself are another matter.
NAMES = KEYS.filter(lambda name: not name.startswith(("X-Amz-", "AWSAccessKeyId", "Signature")))


@given(key=KEYS, region=st.sampled_from(["us-east-1", "eu-central-2", "mars"]))
def test_any_key_signed_by_botocore_is_let_in(key: str, region: str) -> None:
    assert Signed("GET", f"/bucket/{quote(key, safe='/~')}", region=region).check(door()).access_key == ACCESS_KEY


@given(query=st.dictionaries(NAMES, KEYS, max_size=4), presigned=st.booleans())
def test_any_query_signed_by_botocore_is_let_in(query: dict[str, str], presigned: bool) -> None:
    text = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query.items())
    request = Signed("GET", f"/bucket?{text}" if text else "/bucket", expires=60 if presigned else None)
    assert request.check(door()).access_key == ACCESS_KEY


def test_header_values_are_folded_as_the_client_folds_them() -> None:
    headers = {"x-amz-meta-a": "  two   spaces\tand a tab ", "Range": "bytes=0-9"}
    assert Signed("GET", headers=headers).check(door()).access_key == ACCESS_KEY


def test_an_empty_path_and_special_characters_of_keys() -> None:
    for target in ("/", "/bucket/", "/bucket//a/../b", "/bucket/a%2Bb%20c%25", "/bucket/~a.b_c-d"):
        assert Signed("GET", target).check(door()).access_key == ACCESS_KEY


def test_a_path_sent_with_other_escapes_than_those_signed() -> None:
    request = Signed("GET", "/bucket/a%28b%29")
    request.target = "/bucket/a(b)"  # signed in the form of RFC 3986, sent as browsers do
    assert request.check(door()).access_key == ACCESS_KEY
    request.target = "/bucket/a(c)"
    assert refusal(request) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("method", "target", "headers", "signed", "signature", "payload"),
    [
        (
            "GET",
            "/test.txt",
            {"range": "bytes=0-9"},
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            EMPTY_SHA256,
        ),
        (
            "PUT",
            "/test%24file.text",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        ),
        (
            "GET",
            "/?lifecycle",
            {},
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            EMPTY_SHA256,
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            {},
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            EMPTY_SHA256,
        ),
    ],
)
def test_the_examples_of_amazons_documentation(
    method: str, target: str, headers: dict[str, str], signed: str, signature: str, payload: str
) -> None:
    request = Signed()
    request.method, request.target = method, target
    request.headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-content-sha256": payload,
        "authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={signature}",
        **headers,
    }
    assert request.check(door(MAY_2013))._replace(signer=None) == Identity(ACCESS_KEY, payload)


def test_the_presigned_example_of_amazons_documentation() -> None:
    request = Signed()
    request.target = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2F"
        "s3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request.headers = {"host": "examplebucket.s3.amazonaws.com"}
    assert request.check(door(MAY_2013)).access_key == ACCESS_KEY
    assert request.check(door(MAY_2013 + 86400)).access_key == ACCESS_KEY
    assert refusal(request, door(MAY_2013 + 86401)) == "AccessDenied"
    assert refusal(request, door(MAY_2013 - 901)) == "AccessDenied"


@pytest.mark.parametrize("presigned", [False, True])
def test_whatever_is_changed_after_signing_is_noticed(presigned: bool) -> None:
    authenticator = door()

    def signed() -> Signed:
        request = Signed("GET", "/bucket/key?versionId=1", expires=60 if presigned else None)
        assert request.check(authenticator)  # also fills every cache that could hide a change
        return request

    request = signed()
    request.method = "DELETE"
    assert refusal(request, authenticator) == "SignatureDoesNotMatch"
    for change in (("/bucket/key", "/bucket/kez"), ("versionId=1", "versionId=2"), ("versionId=1", "x=1&versionId=1")):
        request = signed()
        request.target = request.target.replace(*change)
        assert refusal(request, authenticator) == "SignatureDoesNotMatch"
    request = signed()
    request.headers["host"] = "elsewhere"
    assert refusal(request, authenticator) == "SignatureDoesNotMatch"
    request = signed()
    request.headers["x-amz-copy-source"] = "/other/secret"
    assert refusal(request, authenticator) == "AccessDenied"


def test_a_changed_payload_hash_or_date_is_noticed() -> None:
    request = Signed()
    request.headers["x-amz-content-sha256"] = "0" * 64
    assert refusal(request) == "SignatureDoesNotMatch"
    request = Signed()
    date = request.headers["x-amz-date"]
    request.headers["x-amz-date"] = date[:-2] + ("1Z" if date[-2] != "1" else "2Z")
    assert refusal(request) == "SignatureDoesNotMatch"


def test_keys_and_secrets() -> None:
    assert refusal(Signed(access_key="NOBODY")) == "InvalidAccessKeyId"
    assert refusal(Signed(secret="wrong")) == "SignatureDoesNotMatch"
    assert refusal(Signed(secret="wrong", expires=60)) == "SignatureDoesNotMatch"


def test_a_secret_never_appears_in_a_refusal() -> None:
    with pytest.raises(S3Error) as caught:
        Signed(secret="wrong").check(door())
    assert SECRET_KEY not in f"{caught.value} {caught.value.details}"
    assert "StringToSign" in caught.value.details


@pytest.mark.parametrize("presigned", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "x-amz-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-key",
        "X-Amz-Security-Token",
    ],
)
def test_keys_and_tokens_of_the_client_do_not_come_back_in_a_refusal(name: str, presigned: bool) -> None:
    """The answer to a wrong signature echoed the customer's key and the session token, and clients log answers."""
    value = "c2VjcmV0IG9mIHRoZSBjdXN0b21lcg=="
    digest = {"x-amz-server-side-encryption-customer-key-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    if presigned:
        request = Signed(target=f"/bucket/key?a=1&{name}={quote(value)}&z=2", secret="wrong", expires=60)
    else:
        request = Signed(headers={name: value, **digest}, secret="wrong")
    with pytest.raises(S3Error) as caught:
        request.check(Authenticator(lambda key, token: root_signer(key, SECRET_KEY)))
    assert caught.value.code == "SignatureDoesNotMatch"
    shown = caught.value.details["CanonicalRequest"]
    assert "c2Vjc" not in f"{caught.value} {caught.value.details}"
    assert f"{name}=(hidden)" in shown if presigned else f"\n{name.lower()}:(hidden)\n" in shown
    # What is no secret stays, so that the rest can be compared.
    assert "z=2" in shown if presigned else f"customer-key-md5:{digest.popitem()[1]}\n" in shown


def test_a_changed_secret_takes_effect_at_once() -> None:
    secrets = {ACCESS_KEY: SECRET_KEY}
    authenticator = Authenticator(Signers(secrets.get).find)
    request = Signed()
    assert request.check(authenticator)
    secrets[ACCESS_KEY] = "another secret"
    assert refusal(request, authenticator) == "SignatureDoesNotMatch"
    del secrets[ACCESS_KEY]
    assert refusal(request, authenticator) == "InvalidAccessKeyId"


def test_clock_skew_of_fifteen_minutes() -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    request = Signed()
    for seconds in (-890, 890):
        assert request.check(door(now + seconds))
    for seconds in (-910, 910):
        assert refusal(request, door(now + seconds)) == "RequestTimeTooSkewed"


def test_a_key_of_one_day_signs_for_no_other() -> None:
    # Signed rightly with yesterday's key for today's date, which S3 refuses all the same.
    scope = "20130523/r/s3/aws4_request"
    headers = {"host": HOST, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": "20130524T000000Z"}
    signed = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"GET\n/bucket/key\n\n{lines}\n{signed}\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = SigningKey.derive(SECRET_KEY, "20130523", "r").sign(
        f"AWS4-HMAC-SHA256\n20130524T000000Z\n{scope}\n{digest}"
    )
    request = Signed()
    request.headers = headers | {
        "authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, "
        f"Signature={signature}"
    }
    assert refusal(request, door(MAY_2013)) == "AuthorizationHeaderMalformed"


def test_presigned_lasts_a_week_at_most() -> None:
    assert Signed(expires=7 * 24 * 3600).check(door())
    assert refusal(Signed(expires=7 * 24 * 3600 + 1)) == "AuthorizationQueryParametersError"
    assert refusal(Signed(expires=0)) == "AuthorizationQueryParametersError"
    request = Signed(expires=60)
    request.target = request.target.replace("X-Amz-Expires=60", "X-Amz-Expires=6e1")
    assert refusal(request) == "AuthorizationQueryParametersError"


def test_the_date_header_stands_in_for_x_amz_date() -> None:
    request = Signed()
    request.headers = {
        "host": "h",
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    request.headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/r/s3/aws4_request, "
        "SignedHeaders=date;host;x-amz-content-sha256, Signature=" + "0" * 64
    )
    assert refusal(request, door(MAY_2013)) == "SignatureDoesNotMatch"  # the time was understood
    request.headers["date"] = "yesterday"
    assert refusal(request, door(MAY_2013)) == "AccessDenied"


def test_anonymous_only_where_the_server_was_told() -> None:
    request = Signed()
    del request.headers["authorization"]
    assert refusal(request) == "AccessDenied"
    assert request.check(door(allow_anonymous=True)) is ANONYMOUS
    # A wrong signature never falls back to being nobody.
    assert refusal(Signed(secret="wrong"), door(allow_anonymous=True)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("AWS AKIA:frJIUN8DYpKDtOLCwo//yllqDzg=", "InvalidRequest"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a/b", "InvalidRequest"),
        ("Basic dXNlcjpwYXNz", "InvalidArgument"),
        ("", "InvalidArgument"),
        ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Signature=0", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=0", "AuthorizationHeaderMalformed"),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/r/ec2/aws4_request, SignedHeaders=host, Signature=0",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=x-amz-date, Signature=0",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=host;host, Signature=0",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=host, Signature=ü",
            "InvalidAccessKeyId",
        ),
    ],
)
def test_authorization_headers_that_cannot_be_used(authorization: str, code: str) -> None:
    request = Signed()
    request.headers |= {
        "authorization": authorization,
        "x-amz-date": "20130524T000000Z",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    assert refusal(request, door(MAY_2013)) == code


def test_signature_version_2_in_a_query_is_refused_with_words() -> None:
    request = Signed()
    request.headers = {"host": HOST}
    request.target = "/b/k?AWSAccessKeyId=a&Expires=1&Signature=s"
    with pytest.raises(S3Error, match="AWS4-HMAC-SHA256") as caught:
        request.check(door())
    assert caught.value.code == "InvalidRequest"


def test_two_signatures_are_one_too_many() -> None:
    request = Signed("GET", expires=60)
    request.headers |= {"authorization": "AWS4-HMAC-SHA256 Credential=x"}
    assert refusal(request) == "InvalidArgument"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_authorization_fields_is_free(order: tuple[int, ...]) -> None:
    request = Signed()
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    fields = rest.split(", ")
    request.headers["authorization"] = f"{algorithm} {','.join(fields[index] for index in order)}"
    authenticator = door()
    for _ in range(2):
        assert request.check(authenticator).access_key == ACCESS_KEY
    request.headers["host"] = "elsewhere"
    assert refusal(request, authenticator) == "SignatureDoesNotMatch"


def test_the_payload_must_be_spoken_of() -> None:
    request = Signed()
    del request.headers["x-amz-content-sha256"]
    assert refusal(request) == "InvalidRequest"
    request.headers["x-amz-content-sha256"] = "sha256"
    assert refusal(request) == "InvalidArgument"
    request.headers["x-amz-content-sha256"] = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
    assert refusal(request) == "NotImplemented"


def test_a_flood_of_credentials_does_not_grow_the_caches() -> None:
    from tickvault.doors.s3.sigv4 import CACHE_COUNT_MAX

    authenticator = Authenticator(Signers(lambda access_key: "secret").find, clock=lambda: MAY_2013 + 600)
    request = Signed()
    midnight = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    for number in range(CACHE_COUNT_MAX + 100):
        moment = midnight + datetime.timedelta(seconds=number)
        request.headers |= {
            "authorization": f"AWS4-HMAC-SHA256 Credential={number}/20130524/r{number}/s3/aws4_request, "
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0",
            "x-amz-date": moment.strftime("%Y%m%dT%H%M%SZ"),
        }
        assert refusal(request, authenticator) == "SignatureDoesNotMatch"
    caches = (authenticator._credentials, authenticator._keys, authenticator._times)
    assert max(map(len, caches)) <= CACHE_COUNT_MAX

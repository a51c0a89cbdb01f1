"""Object lock by the command line of AWS: ``aws s3api`` for its six operations, and ``aws s3`` beside them."""

import json
from datetime import datetime

import pytest
from served_vault import client, plain_environment, program

FAR = "2100-01-01T00:00:00+00:00"
LATER = "2100-01-02T00:00:00+00:00"


def same_time(text, other):
    """Whether two texts are one time; releases of aws print it differently."""
    return datetime.fromisoformat(text) == datetime.fromisoformat(other)


@pytest.fixture(scope="module")
def aws(tmp_path_factory, endpoint):
    environment = plain_environment(
        tmp_path_factory.mktemp("home"),
        AWS_ACCESS_KEY_ID=endpoint.access_key,
        AWS_SECRET_ACCESS_KEY=endpoint.secret_key,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_MAX_ATTEMPTS="1",
        AWS_PAGER="",
    )
    command = (program("aws", "awscli"), "--endpoint-url", endpoint.url, "--output", "json")
    return client(*command, environment=environment)


@pytest.fixture
def api(aws):
    """Call one operation of s3api; returns its answer as aws prints it."""

    def call(operation, *arguments, **options):
        printed = aws("s3api", operation, *arguments, **options)
        return json.loads(printed.bytes) if printed.bytes.strip() else {}

    return call


def test_the_six_operations(aws, api, tmp_path):
    here = ("--bucket", "cli-locked", "--key", "orders/1")
    body = tmp_path / "body"
    body.write_bytes(b"bought")
    api("create-bucket", "--bucket", "cli-locked", "--object-lock-enabled-for-bucket")
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    configuration = json.dumps({"ObjectLockEnabled": "Enabled", "Rule": rule})
    api("put-object-lock-configuration", "--bucket", "cli-locked", "--object-lock-configuration", configuration)
    found = api("get-object-lock-configuration", "--bucket", "cli-locked")
    assert found["ObjectLockConfiguration"] == json.loads(configuration)

    version_id = api("put-object", *here, "--body", body)["VersionId"]
    api("put-object-retention", *here, "--retention", f"Mode=GOVERNANCE,RetainUntilDate={FAR}")
    found = api("get-object-retention", *here)["Retention"]
    assert found["Mode"] == "GOVERNANCE"
    assert same_time(found["RetainUntilDate"], FAR)
    api("put-object-legal-hold", *here, "--legal-hold", "Status=ON")
    assert api("get-object-legal-hold", *here) == {"LegalHold": {"Status": "ON"}}
    head = api("head-object", *here)
    assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
    assert same_time(head["ObjectLockRetainUntilDate"], FAR)

    version = ("--version-id", version_id)
    bypass = ("--bypass-governance-retention",)
    assert "AccessDenied" in aws("s3api", "delete-object", *here, *version, *bypass, status=1).stderr
    api("put-object-legal-hold", *here, "--legal-hold", "Status=OFF")
    assert "AccessDenied" in aws("s3api", "delete-object", *here, *version, status=1).stderr
    api("delete-object", *here, *version, *bypass)


def test_compliance_yields_to_none_of_its_commands(aws, api, tmp_path):
    bucket, key = ("--bucket", "cli-compliance"), ("--key", "k")
    body = tmp_path / "body"
    body.write_bytes(b"bought")
    api("create-bucket", *bucket, "--object-lock-enabled-for-bucket")
    lock = ("--object-lock-mode", "COMPLIANCE", "--object-lock-retain-until-date", FAR)
    version_id = api("put-object", *bucket, *key, "--body", body, *lock)["VersionId"]
    version = ("--version-id", version_id)
    weaker = f"Mode=GOVERNANCE,RetainUntilDate={LATER}"
    for arguments in (
        ("delete-object", *bucket, *key, *version, "--bypass-governance-retention"),
        ("put-object-retention", *bucket, *key, "--retention", weaker, "--bypass-governance-retention"),
    ):
        assert "AccessDenied" in aws("s3api", *arguments, status=1).stderr
    suspend = ("put-bucket-versioning", *bucket, "--versioning-configuration", "Status=Suspended")
    assert "InvalidBucketState" in aws("s3api", *suspend, status=1).stderr
    # It hides every object first, and leaves the versions.
    assert "BucketNotEmpty" in aws("s3", "rb", "s3://cli-compliance", "--force", status=1).stderr
    aws("s3api", "get-object", *bucket, *key, *version, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"bought"

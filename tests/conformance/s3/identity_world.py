"""A served vault whose identities a test makes in Python, and clients that sign as them."""

from __future__ import annotations

import http.client
import itertools
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import tickvault as tv
from tickvault.doors.s3.worker import DoorOptions, DoorThread
from tickvault.security import credentials

ACCOUNT = "arn:aws:iam::000000000000"
_numbers = itertools.count(1)


def statement(effect: str, actions: Any, resources: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(*principals: str) -> str:
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": list(principals)}})


def code(call: Any, /, **arguments: Any) -> str:
    """Return the code of a refused call, "" for one that succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def denial(call: Any, /, **arguments: Any) -> str:
    """Make a call that must be AccessDenied; return its message."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "403"), error
    return str(error["Message"])


class World:
    """A vault, its door, and who is there."""

    def __init__(self, vault: tv.Vault, door: DoorThread, root: credentials.Credentials) -> None:
        self.vault = vault
        self.identities = vault.identities
        self.endpoint = door.endpoint
        self.root_pair = root
        self.root = self.client(root.access_key, root.secret_key)

    def client(self, access_key: str, secret: str, token: str | None = None, service: str = "s3") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            region_name="us-east-1",
            verify=False,
            config=botocore.config.Config(
                signature_version="s3v4" if service == "s3" else "v4",
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    def name(self, stem: str) -> str:
        return f"{stem}-{next(_numbers)}"

    def bucket(self, *, versioned: bool = False, lock: bool = False) -> str:
        name = self.name("bucket")
        self.vault.create_bucket(name, versioning=versioned, object_lock=lock)
        return name

    def user(self, *statements: dict[str, Any], name: str | None = None, policies: tuple[str, ...] = ()) -> Signing:
        """Make a user with these statements and policies by name; return a client that signs as them."""
        name = name or self.name("user")
        self.identities.create_user(name)
        if statements:
            self.identities.put_inline_policy("own", document(*statements), user=name)
        for policy in policies:
            self.identities.attach_policy(policy, user=name)
        key = self.identities.create_access_key(name)
        return Signing(self, name, key.id, key.secret.reveal())

    def send(
        self, signer: Signing | None, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, str]:
        """Send one request as it is; return its status and the code in its answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if signer is not None:
            request = AWSRequest(method, self.endpoint + path, headers=sent, data=body)
            S3SigV4Auth(Credentials(signer.access_key, signer.secret, signer.token), "s3", "us-east-1").add_auth(
                request
            )
            sent = dict(request.headers.items())
        return self.raw(method, path, body, sent)

    def raw(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.endpoint).netloc, timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, content.partition("<Code>")[2].partition("</Code>")[0]


class Signing:
    """One who signs: `s3` and `sts` are clients."""

    def __init__(self, world: World, name: str, access_key: str, secret: str, token: str | None = None) -> None:
        self.world = world
        self.name = name
        self.access_key = access_key
        self.secret = secret
        self.token = token
        self.s3 = world.client(access_key, secret, token)
        self.arn = f"{ACCOUNT}:user/{name}"

    @property
    def sts(self) -> Any:
        return self.world.client(self.access_key, self.secret, self.token, "sts")

    def account(self, policy: str | None = None) -> Signing:
        """Make a service account of this user."""
        name = self.world.name("account")
        self.world.identities.create_service_account(name, parent=self.name, policy=policy)
        key = self.world.identities.create_access_key(service_account=name)
        return Signing(self.world, name, key.id, key.secret.reveal())

    def assume(self, role: str, **options: Any) -> Signing:
        """Assume a role over STS."""
        answer = self.sts.assume_role(RoleArn=f"{ACCOUNT}:role/{role}", RoleSessionName="session", **options)
        found = answer["Credentials"]
        return Signing(self.world, role, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


@contextmanager
def served(path: Path, **options: Any) -> Iterator[World]:
    """Serve a new vault from a thread."""
    with tv.open(path) as vault:
        root = credentials.load_or_create(str(path))
        with DoorThread(vault.store, DoorOptions(secret_for=root.secret_for, **options)) as door:
            yield World(vault, door, root)

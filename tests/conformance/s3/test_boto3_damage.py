"""Damaged bytes and racing writers, seen from a client."""

import concurrent.futures
import os
import pathlib

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError


def flip(endpoint, content):
    """Flip one bit of `content` wherever the vault keeps it on disk."""
    found = 0
    for path in pathlib.Path(endpoint.path).rglob("*"):
        if path.is_file() and not path.name.endswith((".mdb", ".lock")):
            data = path.read_bytes()
            at = data.find(content)
            if at >= 0:
                with path.open("r+b") as file:
                    file.seek(at)
                    file.write(bytes([content[0] ^ 1]))
                found += 1
    assert found, "the content is not in the vault's files"


@pytest.mark.parametrize("size", [4096, 200_000, 900_000])
def test_a_flipped_bit_is_an_error_and_never_data(s3, endpoint, bucket, refused, size):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    flip(endpoint, body[size // 2 : size // 2 + 64])
    for _ in range(2):
        error = refused(s3.get_object, Bucket=bucket, Key="k")
        assert error == (500, "InternalError")
        assert "damaged" in error.response["Error"]["Message"]
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_damage_far_inside_a_large_object_breaks_the_answer_off(s3, endpoint, bucket):
    body = os.urandom(6 << 20)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    flip(endpoint, body[5 << 20 : (5 << 20) + 64])
    answer = s3.get_object(Bucket=bucket, Key="k")
    with pytest.raises((IncompleteReadError, ResponseStreamingError, ReadTimeoutError)):
        answer["Body"].read()
    # What does not touch the damaged frame is still read.
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-999999")
    assert got["Body"].read() == body[:1_000_000]


def test_of_many_writers_of_one_key_exactly_one_wins(s3, bucket):
    def write(number):
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=bytes([number]) * 100, IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return number

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(write, range(40)))
    winners = [result for result in results if isinstance(result, int)]
    assert len(winners) == 1
    assert set(results) - set(winners) == {"PreconditionFailed"}
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == bytes(winners) * 100

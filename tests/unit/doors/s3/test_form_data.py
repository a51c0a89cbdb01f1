"""Browser forms, however they are cut into pieces."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.form_data import Form, boundary_of


class Pieces:
    def __init__(self, data, cuts):
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        self.pieces = [data[a:b] for a, b in itertools.pairwise(edges)]

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece


def form_bytes(fields, content, end=b"--\r\n"):
    parts = b"".join(
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="C:\\x\\ticks.csv"\r\n'
    return parts + head + b"Content-Type: text/csv\r\n\r\n" + content + b"\r\n--B" + end


def read(data, cuts=()):
    async def run():
        form = Form(Pieces(data, cuts), b"B")
        await form.read_fields()
        return form, b"".join([bytes(piece) async for piece in form.file()])

    return asyncio.run(run())


@given(
    st.lists(st.integers(0, 10_000), max_size=30),
    st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"\r\n--A", b"--B", b"\r\n\r\n--B\r\n"[:-1]]),
)
def test_any_cut_gives_the_same_form(cuts, content):
    if b"\r\n--B" in content:
        content = content.replace(b"\r\n--B", b"")
    form, file = read(form_bytes({"Key": "a ü", "policy": "x\r\ny"}, content), cuts)
    assert form.fields == {"key": "a ü", "policy": "x\r\ny"}
    assert form.filename == "ticks.csv"
    assert form.file_content_type == "text/csv"
    assert file == content


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "MalformedPOSTRequest"),
        (b"nonsense", "MalformedPOSTRequest"),
        (b"--B--\r\n", "IncorrectNumberOfFilesInPostRequest"),
        (form_bytes({}, b"abc")[:-8], "MalformedPOSTRequest"),
        (form_bytes({}, b"abc", end=b"\r\n"), "IncorrectNumberOfFilesInPostRequest"),
        (form_bytes({"a": "x" * 30_000}, b""), "MaxPostPreDataLengthExceededError"),
        (
            b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 30_000,
            "MaxPostPreDataLengthExceededError",
        ),
        (b"--B\r\nnot a header\r\n\r\nx\r\n--B--", "MalformedPOSTRequest"),
        (b"--B\r\n\r\nx\r\n--B--", "MalformedPOSTRequest"),
        (form_bytes({}, b"abc") + b"x" * 10_000, "MalformedPOSTRequest"),
    ],
)
def test_broken_forms(data, code):
    with pytest.raises(S3Error) as caught:
        read(data, range(0, len(data), 1000))
    assert caught.value.code == code


def test_boundaries():
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"
    for content_type in (
        "multipart/form-data",
        "text/plain; boundary=x",
        "multipart/form-data; boundary=" + "x" * 71,
    ):
        with pytest.raises(S3Error):
            boundary_of(content_type)

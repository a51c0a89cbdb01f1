"""An address that cannot be listened on is told with what to do."""

from __future__ import annotations

import socket

import pytest

from tickvault.doors.s3.listening import bare_host, reserve_port, url_host
from tickvault.errors import InvalidInputError


@pytest.mark.parametrize(("host", "everywhere"), [("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::")])
def test_an_address_of_another_machine(host: str, everywhere: str) -> None:
    """The story: a wrong --host was answered with "choose another port", and no port would have helped."""
    with pytest.raises(InvalidInputError) as caught:
        reserve_port(host, 0)
    assert f"cannot listen on {host}: it is no address of this machine" in str(caught.value)
    assert f"or {everywhere} for all of them" in str(caught.value)
    assert "port" not in str(caught.value)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=rf"127\.0\.0\.1:{port}: .*; choose another port, or 0"):
            reserve_port("127.0.0.1", port)


@pytest.mark.usefixtures("without_privileges")
def test_a_port_that_this_user_may_not_take() -> None:
    with pytest.raises(InvalidInputError, match="choose one from 1024 on"):
        reserve_port("127.0.0.1", 1)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(InvalidInputError, match="give an address of this machine"):
        reserve_port("nobody.invalid", 0)


def test_an_address_in_brackets() -> None:
    """The story: ``--host "[::1]"``, as the printed endpoint shows it, was refused as a name that nobody knows."""
    hosts = ["[::1]", "::1", "127.0.0.1", "[localhost]", "[", "[]"]
    assert [bare_host(host) for host in hosts] == ["::1", "::1", "127.0.0.1", "[localhost]", "[", "[]"]


def test_hosts_in_urls() -> None:
    assert [url_host(host) for host in ("127.0.0.1", "localhost", "::1")] == ["127.0.0.1", "localhost", "[::1]"]

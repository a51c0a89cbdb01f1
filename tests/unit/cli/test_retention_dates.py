"""Dates of retentions as people type them."""

from __future__ import annotations

import pytest

from tickvault.cli.retention import parse_until
from tickvault.errors import InvalidInputError


@pytest.mark.parametrize("text", ["9999-01-01", "2263-01-01", "9999-12-31T23:59:59Z"])
def test_a_date_that_no_int64_holds_is_told_as_such(text: str) -> None:
    with pytest.raises(InvalidInputError, match="lies beyond 2262-04-11"):
        parse_until(text, "--until")


@pytest.mark.parametrize("text", ["tomorrow", "2031-13-01", "01.02.2031"])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(InvalidInputError, match="neither a date nor a time"):
        parse_until(text, "--until")

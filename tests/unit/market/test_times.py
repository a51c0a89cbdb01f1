"""Times as users write them."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickvault as tv
from tickvault.market.times import text_of, to_ns

HALF_PAST = 1_703_601_000_000_000_000
NEW_YORK = datetime.timezone(datetime.timedelta(hours=-5))


@pytest.mark.parametrize(
    "value",
    [
        HALF_PAST,
        np.int64(HALF_PAST),
        "2023-12-26T14:30",
        "2023-12-26T14:30:00Z",
        "2023-12-26 09:30:00-05:00",
        "2023-12-26T14:30:00.000000000Z",
        datetime.datetime(2023, 12, 26, 14, 30),
        datetime.datetime(2023, 12, 26, 9, 30, tzinfo=NEW_YORK),
        np.datetime64("2023-12-26T14:30"),
        pd.Timestamp("2023-12-26T14:30"),
        pd.Timestamp("2023-12-26T09:30", tz="America/New_York"),
    ],
)
def test_what_names_no_zone_means_utc(value: Any) -> None:
    assert to_ns(value) == HALF_PAST


def test_no_nanosecond_is_lost() -> None:
    assert to_ns("2023-12-26T14:30:00.000000001") == HALF_PAST + 1
    assert to_ns("2023-12-26T14:30:00.123456789-00:00") == HALF_PAST + 123_456_789
    assert to_ns(np.datetime64("2023-12-26T14:30:00.000000001")) == HALF_PAST + 1
    assert to_ns(pd.Timestamp(HALF_PAST + 1)) == HALF_PAST + 1
    assert to_ns("2023-12-26") == to_ns(datetime.date(2023, 12, 26)) == HALF_PAST - 52_200 * 10**9


@pytest.mark.parametrize(
    "value", ["yesterday", "", "2023-13-01", "2023-12-26T14:30:00.1234567890", 1.5, None, True, []]
)
def test_what_is_no_time_is_refused_with_examples(value: Any) -> None:
    with pytest.raises(tv.InvalidInputError, match=r"start: .* is no time from 1677 to 2262; give nanoseconds"):
        to_ns(value, "start")


@given(st.integers(-(2**62), 2**62))
def test_text_is_read_back(ns: int) -> None:
    assert to_ns(text_of(ns)) == ns

"""Random numbers: the published generator, and tables that follow their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from tickvault.market.columns import Array
from tickvault.market.simulate import draws
from tickvault.market.simulate.state import STATE


@njit
def many(kind: int, state: object, out: Array) -> None:
    for place in range(len(out)):
        if kind == 0:
            out[place] = draws.exponential(draws.draw(state))
        elif kind == 1:
            out[place] = draws.gaussian(state)
        elif kind == 2:
            out[place] = draws.below(draws.draw(state), 7)
        elif kind == 3:
            out[place] = draws.lots(draws.draw(state))
        else:
            out[place] = draws.distance(draws.draw(state))


@pytest.fixture(scope="module")
def drawn() -> list[Array]:
    state = np.zeros(1, STATE)
    made = []
    for kind in range(5):
        out = np.empty(400_000, np.int64)
        many(kind, state[0], out)
        made.append(out)
    return made


def test_the_generator_is_splitmix64() -> None:
    """Numbers that other programs give for this seed."""
    state = np.zeros(1, STATE)
    state["random"] = 1234567
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [int(draws.draw(state[0])) for _ in known] == known


def test_waits_are_exponential(drawn: list[Array]) -> None:
    waits = drawn[0] / 2**draws.EXPONENTIAL_BITS
    assert (waits >= 0).all()
    assert waits.mean() == pytest.approx(1, abs=0.01)
    assert waits.var() == pytest.approx(1, abs=0.03)
    for level in (0.001, 0.1, 1.0, 3.0, 7.0):
        assert (waits > level).mean() == pytest.approx(math.exp(-level), abs=0.003)


@pytest.mark.parametrize("bits", [0, 1, 2**11, 2**40 + 12345, 2**63 - 1, 2**63, 2**64 - 1, 0xDEADBEEFCAFEF00D])
def test_a_wait_is_the_logarithm_of_its_bits(bits: int) -> None:
    got = int(draws.exponential(np.uint64(bits))) / 2**draws.EXPONENTIAL_BITS
    # Beyond forty octaves it is cut.
    wanted = -math.log(bits / 2**64) if bits >= 2**25 else 40 * math.log(2) + math.log(2)
    if bits >= 2**25 or bits == 0:
        assert got == pytest.approx(wanted, abs=2e-5)
    assert got <= 41 * math.log(2) + 1e-5


def test_moves_are_normal(drawn: list[Array]) -> None:
    moves = drawn[1] / 2**draws.GAUSSIAN_BITS
    assert moves.mean() == pytest.approx(0, abs=0.01)
    assert moves.var() == pytest.approx(1, abs=0.01)
    assert (np.abs(moves) > 1.96).mean() == pytest.approx(0.05, abs=0.01)


def test_a_number_below_a_limit_is_any_of_them(drawn: list[Array]) -> None:
    counts = np.bincount(drawn[2], minlength=7)
    assert len(counts) == 7
    assert counts / len(drawn[2]) == pytest.approx(np.full(7, 1 / 7), abs=0.005)


def test_sizes_and_distances_have_heavy_tails(drawn: list[Array]) -> None:
    sizes, distances = drawn[3], drawn[4]
    assert sizes.min() == 1
    assert np.median(sizes) == 1
    assert sizes.max() > 300
    assert distances.min() == 0
    assert 0.4 < (distances == 0).mean() < 0.65
    assert distances.max() == draws.DISTANCE_MAX
    # Twice as far is about half as likely, at every distance: an index of 1.1, not an exponential.
    for level in (4, 16, 64):
        assert (distances >= 2 * level).mean() / (distances >= level).mean() == pytest.approx(0.48, abs=0.08)


@pytest.mark.parametrize("elapsed", [0, 1, 500, 1024, 3000, 10**5, 10**12])
def test_excitement_halves(elapsed: int) -> None:
    got = int(draws.decayed(1 << 40, elapsed, 10))
    assert got == pytest.approx(2**40 * 2.0 ** -(elapsed / 1024), rel=0.005, abs=1)


def test_a_stream_is_told_by_all_its_names() -> None:
    starts = {draws.stream(*names) for names in [("a", 1), ("a", 2), ("a", "1", ""), ("a1",), ("a", 11)]}
    assert len(starts) == 5
    assert draws.stream("flow", 1, "2026-01-05", "ALDER") == draws.stream("flow", "1", "2026-01-05", "ALDER")

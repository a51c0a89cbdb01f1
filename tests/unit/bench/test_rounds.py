from array import array

import numpy as np

from tickvault.bench.rounds import Sample, Timing, alternate, median_of, timing_of, together


def test_figures_are_medians_over_rounds():
    samples = [Sample(1.0, 10.0, 100.0), Sample(3.0, 90.0, 50.0), Sample(2.0, 20.0, 70.0)]
    assert median_of(samples) == Sample(2.0, 20.0, 70.0)
    assert median_of([Sample(None, None, 1.0)]) == Sample(None, None, 1.0)


def test_turns_alternate_and_change_their_order():
    seen: list[str] = []

    def turn(name: str) -> Sample:
        seen.append(name)
        return Sample(None, None, float(len(seen)))

    limit, subject = alternate(lambda: turn("limit"), lambda: turn("subject"), rounds=2)
    assert seen == ["limit", "subject", "subject", "limit"]
    assert (limit.rate, subject.rate) == (2.5, 2.5)


def test_percentiles_are_microseconds_and_rates_per_second():
    sample = timing_of(array("q", [1_000, 2_000, 3_000]), 1_000_000).sample
    assert sample.p50 == 2.0
    assert sample.rate == 3_000.0


def test_rates_of_processes_add_up():
    one = Timing(np.array([1_000, 1_000]), 1_000_000_000, 2)
    two = Timing(np.array([3_000, 3_000]), 1_000_000_000, 4)
    assert together([one, two]) == Sample(2.0, 3.0, 6.0)
    assert Timing.from_message(one.as_message()).sample == one.sample

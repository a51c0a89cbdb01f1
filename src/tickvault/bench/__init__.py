"""Benchmarks: every promise about speed, measured beside its raw limit in the same run.

``report`` and ``rounds`` are for every benchmark; ``limits``, ``nginx`` and ``load`` measure what a promise
is held against; ``embedded`` and ``s3`` are the benchmarks themselves.
"""

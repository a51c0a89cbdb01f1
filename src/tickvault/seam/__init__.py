"""The only place that touches the outside: disk, clock, random numbers, the host.

Crash tests replace `Disk` and `Host` by simulated ones; everything above takes them as arguments.
"""

"""The market library's budgets, each measured beside its limit or its rival.

The data's path: `files` says which real files there are and `loading` takes them (or simulated rows) into libraries;
the chapters (`sizes`, `decoding`, `live`, `warm`, `cold`, `joins`, `arctic`, `appends`, `books`) measure those and give
rows; `run` lets one chapter follow the other.
"""

"""Joins in time: as-of joins, window joins, and the best quote over several exchanges."""

from tickvault.market.joins.asof import asof_join
from tickvault.market.joins.nbbo import nbbo
from tickvault.market.joins.window import window_join

__all__ = ["asof_join", "nbbo", "window_join"]

"""Feeds: the formats that venues and vendors give, one file each, decoded into columns.

A feed is a class with the methods of `feeds.protocol.Feed`.  Those of this package are found by the entry points
``tickvault.feeds`` that it declares; another package adds its own the same way.
"""

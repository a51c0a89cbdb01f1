"""Databento Binary Encoding."""

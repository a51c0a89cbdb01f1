"""LEAN's zips."""

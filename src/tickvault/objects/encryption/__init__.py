"""Encryption at rest of objects: which key seals what, and how it is opened again.

Invariants: bodies are sealed by `security.cipher` and their data keys wrapped by `security.keyring`; what is here says
where in a vault a wrapped key may stand, and keeps nothing secret longer than its use.
"""

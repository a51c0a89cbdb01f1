"""Validation: rules that flag rows, and the ledger of what they found.

The rules are registered in the order in which a report tells them.
"""

from tickvault.market.validate import clocks, sequences  # noqa: F401, I001
from tickvault.market.validate import bars, prices, quotes  # noqa: F401
from tickvault.market.validate import hours  # noqa: F401
from tickvault.market.validate.ledger import LedgerEntry, ledger, record
from tickvault.market.validate.report import QualityReport, RuleResult
from tickvault.market.validate.rule import (
    RULES,
    Found,
    Limits,
    NotChecked,
    Rows,
    Rule,
    Severity,
    register,
    rules_of,
    unregister,
)
from tickvault.market.validate.validating import validate

__all__ = [
    "RULES",
    "Found",
    "LedgerEntry",
    "Limits",
    "NotChecked",
    "QualityReport",
    "Rows",
    "Rule",
    "RuleResult",
    "Severity",
    "ledger",
    "record",
    "register",
    "rules_of",
    "unregister",
    "validate",
]

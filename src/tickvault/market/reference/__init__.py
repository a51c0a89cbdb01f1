"""Reference data: symbols, instruments, corporate actions, universes, sessions, adjustment, continuous futures."""

from tickvault.market.reference.adjusting import adjust
from tickvault.market.reference.calendars import CALENDARS, Calendar, calendar_named, calendar_of
from tickvault.market.reference.continuous import (
    ContinuousName,
    ContractInterval,
    continuous_name,
    published_open_interest,
    resolve_continuous,
    traded_volume,
)
from tickvault.market.reference.contracts import Contract, contracts_of
from tickvault.market.reference.fact_log import LoadReport
from tickvault.market.reference.facts import (
    Action,
    CalendarChoice,
    Instrument,
    Membership,
    Sector,
    SymbolInterval,
)
from tickvault.market.reference.readers import DATABENTO_ACTIONS, DATABENTO_FACTORS, DATABENTO_SYMBOLS
from tickvault.market.reference.reference import Reference
from tickvault.market.reference.sessions import Sessions, breaks, session_of, session_range, sessions

__all__ = [
    "CALENDARS",
    "DATABENTO_ACTIONS",
    "DATABENTO_FACTORS",
    "DATABENTO_SYMBOLS",
    "Action",
    "Calendar",
    "CalendarChoice",
    "ContinuousName",
    "Contract",
    "ContractInterval",
    "Instrument",
    "LoadReport",
    "Membership",
    "Reference",
    "Sector",
    "Sessions",
    "SymbolInterval",
    "adjust",
    "breaks",
    "calendar_named",
    "calendar_of",
    "continuous_name",
    "contracts_of",
    "published_open_interest",
    "resolve_continuous",
    "session_of",
    "session_range",
    "sessions",
    "traded_volume",
]

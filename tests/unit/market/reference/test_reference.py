"""Reference data: what was so on a day, and what was known of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickvault as tv
from tickvault.market.columns import Columns
from tickvault.market.library import Library
from tickvault.market.reference import (
    DATABENTO_ACTIONS,
    Action,
    Instrument,
    Membership,
    Reference,
    SymbolInterval,
)
from tickvault.market.schema import PRICE_NULL, schema_of
from tickvault.market.table import Table
from tickvault.market.times import to_ns
from tickvault.objects.bucket import Bucket

File = Callable[..., Path]
MEMBERS = {"symbol": "ticker", "start": "from", "end": "to"}
SYMBOLS = {"identifier": "id", "symbol": "ticker", "start": "from", "end": "to"}


@pytest.fixture
def members(reference: Reference, file: File) -> Reference:
    reference.load_members(file("m.csv", "ticker,from,to", "A,2000-01-03,2010-05-04", "B,2005-01-03,"), "idx", MEMBERS)
    return reference


def test_members_are_those_of_the_day(members: Reference) -> None:
    assert members.symbols_on("2000-01-03", "idx") == ["A"]
    assert members.symbols_on("2010-05-03", "idx") == ["A", "B"]
    assert members.symbols_on("2010-05-04", "idx") == ["B"], "the end is the first day after"
    with pytest.raises(
        tv.NotFoundError, match=r"universe idx on 1999-12-31: it has no members; it was from 2000-01-03 to"
    ):
        members.symbols_on("1999-12-31", "idx")
    with pytest.raises(tv.NotFoundError, match="there is no universe 'dax'; there is idx"):
        members.symbols_on("2005-01-03", "dax")


def test_a_file_whose_ends_are_included_says_so(reference: Reference, file: File) -> None:
    path = file("m.csv", "ticker,from,to", "A,2000-01-03,2010-05-04")
    reference.load_members(path, "idx", MEMBERS, end_included=True)
    assert reference.symbols_on("2010-05-04", "idx") == ["A"]


def test_changes_begin_and_end_memberships(members: Reference, file: File) -> None:
    path = file("c.csv", "date,add,remove", '2010-05-04,"C",A', '2011-02-01,"D,E",B', "2012-01-03,,Z", "oops,A,")
    report = members.load_changes(path, "idx", {"date": "date", "add": "add", "remove": "remove"})
    assert members.symbols_on("2010-05-04", "idx") == ["B", "C"]
    assert members.symbols_on("2011-02-01", "idx") == ["C", "D", "E"]
    assert (report.rows, report.stored, report.quarantined) == (4, 4, 2)
    assert "Z goes on 2012-01-03, and was no member" in report.reasons


def test_loading_again_does_nothing(members: Reference, file: File, store: Bucket) -> None:
    path = file("m.csv", "ticker,from,to", "A,2000-01-03,2010-05-04", "B,2005-01-03,")
    assert members.load_members(path, "idx", MEMBERS).again
    assert len(list(store.list("reference/members/"))) == 1
    assert Reference(store).symbols_on("2000-01-03", "idx") == ["A"], "another reader sees it"


def test_bad_rows_are_refused_with_their_number_and_kept(reference: Reference, file: File, store: Bucket) -> None:
    lines = ["ticker,from,to", "A,2000-01-03,", "B,2000-13-03,", "C", ",2000-01-03,", "D,2001-01-03,2000-01-03"]
    report = reference.load_members(file("m.csv", *lines), "idx", MEMBERS)
    assert (report.rows, report.stored, report.quarantined) == (5, 1, 4)
    told = [(row.path, row.row, row.reason) for row in Library(store, "x").quarantine()]
    assert [(path, row) for path, row, _ in told] == [("m.csv", 1), ("m.csv", 2), ("m.csv", 3), ("m.csv", 4)]
    assert "'2000-13-03' is no day" in told[0][2]
    assert "it has 1 fields, and should have 3" in told[1][2]
    assert "it has no symbol (column ticker)" in told[2][2]
    assert "it ends on 2000-01-03, before it has begun" in told[3][2]


def test_what_a_file_does_not_say_is_asked_for(reference: Reference, file: File) -> None:
    path = file("s.csv", "Symbol,Sector", "A,Energy")
    with pytest.raises(tv.InvalidInputError, match="it does not say since when it holds; map start, or give date="):
        reference.load_sectors(path, {"symbol": "Symbol", "sector": "Sector"})
    with pytest.raises(tv.InvalidInputError, match="columns= should say which column is sector"):
        reference.load_sectors(path, {"symbol": "Symbol"}, date="2020-01-01")
    with pytest.raises(tv.InvalidInputError, match="columns= names colour; ours are"):
        reference.load_sectors(path, {"symbol": "Symbol", "sector": "Sector", "colour": "x"}, date="2020-01-01")
    with pytest.raises(tv.NotFoundError, match="there is no such file"):
        reference.load_sectors("none.csv", {"symbol": "Symbol", "sector": "Sector"}, date="2020-01-01")
    reference.load_sectors(path, {"symbol": "Symbol", "sector": "Sector"}, date="2020-01-01")
    assert reference.sector("A", "2020-01-01").sector == "Energy"
    with pytest.raises(tv.NotFoundError, match="sector of A on 2019-12-31: it is not known; it was from 2020-01-01 on"):
        reference.sector("A", "2019-12-31")


@pytest.fixture
def renamed(reference: Reference, file: File) -> Reference:
    reference.load_renames(file("new.csv", "20000103,old,Q", "20100601,old,Q", "20501231,new,Q"))
    reference.load_renames(file("old.csv", "20120103,old,Q", "20501231,old,Q"))
    return reference


def test_a_symbol_is_resolved_as_of_its_day(renamed: Reference) -> None:
    assert renamed.resolve("OLD", "2010-06-01").identifier == "NEW"
    assert renamed.resolve("OLD", "2012-01-03").identifier == "OLD"
    assert renamed.symbol_of("NEW", "2010-06-01") == "OLD"
    assert renamed.symbol_of("NEW", "2010-06-02") == "NEW"
    assert [each.symbol for each in renamed.history("NEW", "2015-01-02")] == ["OLD", "NEW"]
    with pytest.raises(tv.NotFoundError, match="symbol OLD on 2011-01-03: it was nobody's; it was from 2000-01-03 to"):
        renamed.resolve("OLD", "2011-01-03")


def test_a_map_file_without_exchanges_is_read(reference: Reference, file: File) -> None:
    report = reference.load_renames(file("fb.1.csv", "19990929,fb", "20030328,fb"))
    assert (report.stored, report.quarantined) == (1, 0)
    assert reference.resolve("FB", "2003-03-28").identifier == "FB.1"


def test_a_symbol_cannot_be_two_instruments_at_once(renamed: Reference, file: File) -> None:
    path = file(
        "x.csv", "id,ticker,from,to", "", "Z1,,2001-01-01,", "Z1,OLD,2001-01-01,2001-02-01", "Z1,ZZ,2001-03-01,"
    )
    report = renamed.load_symbols(path, SYMBOLS, scheme="lean")
    assert (report.stored, report.quarantined) == (1, 2)
    assert any("Z1 is called OLD from 2001-01-01, and NEW is called OLD" in reason for reason in report.reasons)
    firm = renamed.load_symbols(file("y.csv", "id,ticker,from,to", "17,OLD,2001-01-01,"), SYMBOLS, scheme="firm")
    assert firm.stored == 1, "another scheme has numbers of its own"
    with pytest.raises(tv.InvalidInputError, match="there are several: firm 17, lean NEW; say which"):
        renamed.resolve("OLD", "2001-01-15")
    assert renamed.resolve("OLD", "2001-01-15", scheme="firm").identifier == "17"


def test_a_later_fact_supersedes_and_the_past_can_be_read(members: Reference, store: Bucket, file: File) -> None:
    before = max(info.sequence for info in store.list("reference/"))
    members.load_members(file("n.csv", "ticker,from,to", "A,2000-01-03,2002-01-03"), "idx", MEMBERS)
    assert members.symbols_on("2005-01-03", "idx") == ["B"]
    past = members.at(before)
    assert past.symbols_on("2005-01-03", "idx") == ["A", "B"]
    with pytest.raises(tv.InvalidInputError, match="to read only"):
        past.add([Membership("idx", "Q")])


def test_two_writers_lose_nothing(store: Bucket) -> None:
    one, two = Reference(store), Reference(store)
    for number in range(5):
        one.add([Membership("idx", f"A{number}")])
        two.add([Membership("idx", f"B{number}")])
    assert len(one.symbols_on("2020-01-01", "idx")) == len(two.symbols_on("2020-01-01", "idx")) == 10


def test_an_entry_that_is_missing_is_told(members: Reference, store: Bucket) -> None:
    members.add([Membership("idx", "Q")])
    store.delete("reference/members/000000000001")
    with pytest.raises(tv.IntegrityError, match="entry 1 of members was deleted by hand"):
        Reference(store).symbols_on("2005-01-03", "idx")


def test_actions_are_known_when_they_were_published(reference: Reference) -> None:
    told = to_ns("2020-05-01")
    reference.add(
        [
            Action("A", "split", "2020-06-01", numerator=2, event="1", known_ns=told),
            Action("A", "dividend", "2020-03-02", amount=10**9),
        ]
    )
    later = Action("A", "split", "2020-06-01", numerator=3, event="1", known_ns=to_ns("2020-05-20"))
    reference.add([later])
    assert [each.numerator for each in reference.actions("A", "2020-06-01")] == [3]
    assert [each.numerator for each in reference.actions("A", "2020-06-01", known_at="2020-05-10")] == [2]
    assert reference.actions("A", known_at="2020-03-01T23:59:59.999999999") == []
    assert len(reference.actions("A", known_at="2020-03-02")) == 1, "not told: known from its ex-date on"
    reference.add([later._replace(withdrawn=True, known_ns=to_ns("2020-05-25"))])
    assert reference.actions("A", "2020-06-01") == []
    assert len(reference.actions("A", "2020-06-01", known_at="2020-05-24")) == 1


def test_the_order_of_loading_does_not_change_what_was_known(reference: Reference) -> None:
    """History that is loaded later than the correction must not undo it."""
    first = Action("A", "split", "2020-06-01", numerator=2, event="1", known_ns=to_ns("2020-05-01"))
    reference.add([first._replace(numerator=3, known_ns=to_ns("2020-05-20"))])
    reference.add([first])
    assert [each.numerator for each in reference.actions("A")] == [3]


def test_actions_follow_renames(renamed: Reference, file: File) -> None:
    renamed.add([Action("OLD", "split", "2005-01-03", numerator=2), Action("OLD", "split", "2013-01-03", numerator=5)])
    assert [(each.symbol, each.numerator) for each in renamed.actions("NEW")] == [("NEW", 2)]
    assert [each.numerator for each in renamed.actions("OLD")] == [5]
    assert [each.numerator for each in renamed.actions("OLD", end="2010-01-01")] == [2]
    renamed.load_factors(file("new.csv", "20000103,1,0.5,1", "20060301,1,0.5,10", "20501231,1,1,0"))
    assert [each.ex_day for each in renamed.actions("NEW")] == ["2005-01-03", "2006-03-02"]


def test_a_factor_file_tells_splits_and_dividends(reference: Reference, file: File) -> None:
    lines = ("19980102,0.9,0.0357143,1", "20140606,0.9,0.0357143,645.57", "20140808,0.9,0.25,100", "20501231,1,1,0")
    assert reference.load_factors(file("x.csv", *lines)).stored == 3
    split, paid, second = sorted(reference.actions("X"), key=lambda each: (each.ex_day, -each.numerator))[:3]
    assert (split.ex_day, split.numerator, split.denominator) == ("2014-06-09", 7, 1), "the Monday after"
    assert (paid.numerator, second.amount, second.close) == (4, 10 * 10**9, 100 * 10**9)


def test_two_dividends_of_a_day_need_numbers(reference: Reference, file: File) -> None:
    columns = {"symbol": "s", "kind": "k", "ex_date": "d", "amount": "a", "event": "e"}
    lines = ("s,k,d,a,e", "A,DIV,2020-01-02,0.5,", "A,DIV,2020-01-02,0.7,", "A,DIV,2020-01-02,0.5,")
    report = reference.load_actions(file("a.csv", *lines), columns)
    assert (report.stored, report.quarantined) == (1, 1), "an equal row is the same one"
    told = file("b.csv", "s,k,d,a,e", "B,DIV,2020-01-02,0.5,1", "B,DIV,2020-01-02,0.7,2")
    reference.load_actions(told, columns)
    assert sorted(each.amount for each in reference.actions("B")) == [500_000_000, 700_000_000]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A,SPLIT,2020-01-02,0,1,,,", "both must be above 0"),
        ("A,SPLIT,2020-01-02,x,1,,,", "its ratio_new 'x' is no number"),
        ("A,SPLIT,2020-01-02,NaN,1,,,", "is no number"),
        ("A,MERGER,2020-01-02,,,,,", "is neither a split nor a dividend"),
        ("A,DIV,2020-01-02,,,,,", "a dividend needs an amount, or a factor and the close"),
        ("A,DIV,2020-01-02,,,-1,,", "is not from 0 to less than the close"),
        ("A,DIV,2020-01-02,,,5,,5", "is not from 0 to less than the close"),
        ("A,DIV,2020-01-02,,,,1.5,5", "is not above 0 and up to 1"),
        ("A,DIV,2020-01-02,,,1e30,,", "does not fit 63 bits"),
    ],
)
def test_actions_that_are_none_are_refused(reference: Reference, file: File, line: str, reason: str) -> None:
    columns = {
        name: name for name in ("symbol", "kind", "ex_date", "ratio_new", "ratio_old", "amount", "factor", "close")
    }
    report = reference.load_actions(file("a.csv", ",".join(columns), line), columns)
    assert (report.stored, report.quarantined) == (0, 1)
    assert reason in next(iter(report.reasons))


def test_a_factor_and_a_close_tell_an_amount(reference: Reference, file: File) -> None:
    columns = {name: name for name in ("symbol", "kind", "ex_date", "factor", "close")}
    reference.load_actions(file("a.csv", ",".join(columns), "A,DIV,2007-02-13,0.996544574982723,28.94"), columns)
    assert reference.actions("A")[0].amount == 100_000_000, "the vendor says USD 0.10"


def test_json_lines_keep_decimals(reference: Reference, file: File) -> None:
    record = (
        '{"nasdaq_symbol": "A", "event": "RSPLT", "ex_date": "2023-10-10", "ratio_old": 12.0, "ratio_new": 1.0, '
        '"event_unique_id": "U-1", "event_action": "U", "ts_record": "2023-10-10T04:37:14Z"}'
    )
    report = reference.load_actions(file("a.jsonl", record, "{broken", "[1]"), DATABENTO_ACTIONS, scheme="databento")
    assert (report.rows, report.stored, report.quarantined) == (3, 1, 2)
    assert reference.actions("A")[0].split.limit_denominator() == pytest.approx(1 / 12)
    assert reference.actions("A", known_at="2023-10-10T04:37:13Z") == []


def definition(**values: int) -> Table:
    schema = schema_of("definition")
    columns = {"ts_recv": to_ns("2023-08-01"), "ts_event": to_ns("2023-07-30"), "instrument_class": ord("F")} | values
    arrays = {name: np.array([value], schema.column(name).dtype) for name, value in columns.items()}  # type: ignore[union-attr]
    words = {"raw_symbol": ["ESH4"], "asset": ["ES"], "currency": ["USD"]}
    arrays |= {name: np.zeros(1, np.int32) for name in words}
    return Table.of(Columns(schema, arrays, words), "GLBX", "ESH4")


def test_definitions_are_instruments(reference: Reference) -> None:
    expiry = to_ns("2024-03-15T13:30")
    table = definition(expiration=expiry, min_price_increment=250_000_000, unit_of_measure_qty=50 * 10**9)
    reference.load_definitions(table)
    found = reference.instrument("ESH4", "2024-03-15")
    assert (found.tick_size, found.multiplier, found.currency, found.root) == (250_000_000, 50 * 10**9, "USD", "ES")
    assert reference.contracts("ES", "2024-01-02")[0].expiry_ns == expiry
    with pytest.raises(
        tv.NotFoundError, match="instrument ESH4 on 2024-03-16: it is not known; it was from 2023-08-01"
    ):
        reference.instrument("ESH4", "2024-03-16")
    with pytest.raises(tv.NotFoundError):
        reference.instrument("ESH4", "2024-03-15", known_at="2023-07-31")
    with pytest.raises(tv.InvalidInputError, match="the rows are of trades"):
        reference.load_definitions(Table.of(Columns(schema_of("trades"), {"ts_event": np.zeros(1, np.int64)})))


def test_an_instrument_at_two_venues_is_asked_for(reference: Reference) -> None:
    reference.add([Instrument("A", "X", tick_size=5), Instrument("B", "X", tick_size=PRICE_NULL)])
    with pytest.raises(tv.InvalidInputError, match="there are several: A, B; say which with venue="):
        reference.instrument("X", "2020-01-01")
    assert reference.instrument("X", "2020-01-01", venue="A").tick_size == 5


def test_instruments_are_read_from_a_table(reference: Reference, file: File) -> None:
    columns = {"symbol": "s", "tick_size": "t", "multiplier": "m", "expiry": "e", "calendar": "c"}
    lines = ("s,t,m,e,c", "X,0.25,50,2024-03-15T13:30Z,", "Y,0,1,,", "Z,0.01,,,XHKG")
    report = reference.load_instruments(file("i.csv", *lines), columns, venue="GLBX")
    assert report.reasons == {"its tick_size 0 is not above 0": 1}
    assert reference.instrument("X", "2024-01-01").tick_size == 250_000_000
    assert reference.session_range("GLBX", "2024-02-09", symbol="Z")[0] == to_ns("2024-02-09T01:30")


def test_a_library_chooses_a_calendar(reference: Reference) -> None:
    with pytest.raises(tv.InvalidInputError, match="the calendar of venue 'HOUSE' is not known"):
        reference.session_range("HOUSE", "2024-01-02")
    reference.choose_calendar("HOUSE", "always")
    reference.choose_calendar("HOUSE", "XNYS", symbol="SPY", start="2024-01-02")
    assert reference.calendar("HOUSE", "2024-01-02").name == "always"
    assert reference.calendar("HOUSE", "2024-01-02", symbol="SPY").name == "XNYS"
    assert reference.calendar("HOUSE", "2024-01-01", symbol="SPY").name == "always"
    with pytest.raises(tv.InvalidInputError, match="there is no calendar 'XNIL'; ours are us_equities"):
        reference.choose_calendar("HOUSE", "XNIL")


def test_facts_of_two_kinds_do_not_mix(reference: Reference) -> None:
    with pytest.raises(tv.InvalidInputError, match="facts of one kind at a time"):
        reference.add([Membership("idx", "A"), SymbolInterval("x", "1", "A")])
    assert repr(reference) == "<Reference: nothing loaded>"


def test_a_mapped_column_that_the_file_lacks_is_an_error(reference: Reference, file: File, tmp_path: Path) -> None:
    """A slip in a column's name sent every row to quarantine, and the load reported success."""
    told = r"columns= names 'from', which it has not; its columns are ticker, start, to"
    with pytest.raises(tv.InvalidInputError, match=told):
        reference.load_members(file("m.csv", "ticker,start,to", "A,2000-01-03,"), "idx", MEMBERS)
    pq.write_table(pa.table({"ticker": ["A"], "start": ["2000-01-03"], "to": [""]}), tmp_path / "m.parquet")
    with pytest.raises(tv.InvalidInputError, match=told):
        reference.load_members(tmp_path / "m.parquet", "idx", MEMBERS)
    with pytest.raises(tv.InvalidInputError, match="names 'ticker', which it has not; its columns are symbol, from"):
        reference.load_members(file("m.jsonl", '{"symbol": "A", "from": "2000-01-03"}'), "idx", MEMBERS)
    with pytest.raises(tv.InvalidInputError, match="names 'remove', which it has not; its columns are date, add"):
        path = file("c.csv", "date,add", "2010-05-04,C")
        reference.load_changes(path, "idx", {"date": "date", "add": "add", "remove": "remove"})
    for load, columns in (
        (reference.load_actions, {"symbol": "s", "kind": "k", "ex_date": "x"}),
        (reference.load_instruments, {"symbol": "s"}),
        (lambda path, columns: reference.load_symbols(path, columns, scheme="isin"), SYMBOLS),
        (
            lambda path, columns: reference.load_sectors(path, columns, date="2020-01-01"),
            {"symbol": "s", "sector": "n"},
        ),
    ):
        with pytest.raises(tv.InvalidInputError, match="which it has not; its columns are nothing, else"):
            load(file("e.csv", "nothing,else", "1,2"), columns)


def test_json_lines_may_leave_out_what_is_not_needed(reference: Reference, file: File) -> None:
    path = file("m.jsonl", '{"ticker": "A", "from": "2000-01-03"}')
    assert reference.load_members(path, "idx", MEMBERS).stored == 1

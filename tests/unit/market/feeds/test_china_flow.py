"""A plain matching engine writes its flow as Shanghai and as Shenzhen would; the book of `mbo` is the engine's."""

from __future__ import annotations

import tempfile
from pathlib import Path

from china_reading import crossings, decoded, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

HEADER = "SecurityID,Date,Time,SourceType,Type,Price,Qty,BSFlag,BuyNo,SellNo,ApplSeqNum,ChannelNo"
#: side, price (0: a market order), size, or which resting order to cancel
Step = tuple[int, int, int]


class Engine:
    """Continuous trading by price and time; `shenzhen` says how it is told."""

    def __init__(self, shenzhen: bool) -> None:
        self.shenzhen = shenzhen
        self.lines = [HEADER]
        self.book: dict[int, list[int]] = {}

    def tell(self, source: int, kind: int, price: int, size: int, flag: int, buy: int, sell: int) -> None:
        number = len(self.lines)
        suffix = "SZ" if self.shenzhen else "SH"
        time = f"09:30:{number // 100:02d}.{number % 100:02d}0"
        self.lines.append(
            f"000001.{suffix},2023.07.11,{time},{source},{kind},{price},{size},{flag},{buy},{sell},{number},1"
        )

    def cancel(self, which: int) -> None:
        order = sorted(self.book)[which % len(self.book)]
        side, price, left = self.book.pop(order)
        if self.shenzhen:
            self.tell(1, 1, 0, left, 0, order if side == 1 else 0, order if side == 2 else 0)
        else:
            self.tell(0, 10, price, left, side, order, order)

    def order(self, side: int, price: int, size: int) -> None:
        market = price == 0
        order = len(self.lines) if self.shenzhen else 10_000 + len(self.lines)
        if self.shenzhen:
            self.tell(0, 1 if market else 2, price, size, side, 0, 0)
        limit = price or (10**9 if side == 1 else 0)
        last = 0
        while size:
            others = [(o[1], number) for number, o in self.book.items() if o[0] != side]
            best = min(others, key=lambda each: (each[0] if side == 1 else -each[0], each[1]), default=None)
            if best is None or (best[0] > limit if side == 1 else best[0] < limit):
                break
            last, resting = best
            taken = min(size, self.book[resting][2])
            pair = (order, resting) if side == 1 else (resting, order)
            self.tell(1, 0, last, taken, side, *pair)
            size -= taken
            self.book[resting][2] -= taken
            if not self.book[resting][2]:
                del self.book[resting]
        if size and market and (not last or size % 2 or not self.shenzhen):
            if self.shenzhen:
                self.tell(1, 1, 0, size, 0, order if side == 1 else 0, order if side == 2 else 0)
        elif size:
            self.book[order] = [side, price or last, size]
            if not self.shenzhen:
                self.tell(0, 2, price or last, size, side, order, order)


STEP = st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0, *range(95, 106)]), st.integers(1, 9))


@settings(deadline=None)
@given(st.lists(STEP, min_size=1, max_size=60), st.booleans())
def test_the_book_of_mbo_is_the_engines(steps: list[Step], shenzhen: bool) -> None:
    engine = Engine(shenzhen)
    for side, price, size in steps:
        if side:
            engine.order(side, price, size)
        elif engine.book:
            engine.cancel(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.csv"
        path.write_text("\n".join(engine.lines) + "\n")
        if len(engine.lines) == 1:
            return
        count, pieces, bad = decoded(path)
    assert (count, bad) == (len(engine.lines) - 1, [])
    rows = rows_of(pieces, "mbo", "000001", "action", "side", "order_id", "price", "size", "flags", "ts_event")
    book: dict[int, list[int]] = {}
    assert crossings(rows, 0, 2**62)[1] == 0
    for action, side, order, price, size, _, _ in rows:
        if action == "A":
            book[order] = [1 if side == "B" else 2, price // 100_000, size]
        elif action == "C":
            book[order][2] -= size
            if not book[order][2]:
                del book[order]
    assert book == engine.book

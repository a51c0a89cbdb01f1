"""``tickvault bench market``: the market library's budgets, each figure with its limit or rival beside it.

Invariants: an existing vault is never written to; rows come in the order of the published table, whatever the order
that they are measured in; what cannot be measured here is noted, with what it lacks.
"""

from __future__ import annotations

from tickvault.bench.market import appends, arctic, books, cold, decoding, joins, live, sizes, warm
from tickvault.bench.market.files import data_folder
from tickvault.bench.market.loading import load
from tickvault.bench.market.stage import FULL, QUICK, Scale, Stage
from tickvault.bench.report import Report, Row
from tickvault.bench.setting import Progress, bench_setting


def run_market(
    vault_dir: str | None = None,
    quick: bool = False,
    progress: Progress = None,
    *,
    data: str | None = None,
    scale: Scale | None = None,
) -> Report:
    """Measure the market library, in the setting that `bench_setting` makes of these arguments.

    Parameters
    ----------
    vault_dir, quick, progress
        See `bench_setting`; a quick run takes fewer rows and rounds, and its figures are rough.
    data : str, optional
        Folder of real market data; by default the environment's TICKVAULT_MARKET_DATA. Without it simulated rows
        stand in where they can, and the report tells what was skipped.
    scale : Scale, optional
        How much is measured, in the place of `quick`'s.

    Raises
    ------
    NotFoundError
        The folder of market data is named, and not there.
    """
    folder = data_folder(data)
    chosen = scale or (QUICK if quick else FULL)
    with bench_setting(vault_dir, chosen.free_bytes_min, quick=quick, progress=progress) as setting:
        stage = Stage.begin(setting, chosen, folder)
        setting.report.rows += _chapters(stage)
    return setting.report


def _chapters(stage: Stage) -> list[Row]:
    loaded = load(stage)
    # What reads mapped columns comes before everything is compressed.
    opened = warm.measure(stage, loaded)
    joined = joins.measure(stage, loaded)
    replayed = books.measure(stage, loaded)
    small = sizes.measure(stage, loaded)
    packed = cold.measure(stage, loaded)
    rival = arctic.measure(stage, loaded)
    decoded = decoding.measure(stage)
    came = live.measure(stage)
    appended = appends.measure(stage)
    return [*small, *decoded, *came, *opened, *packed, *joined, *rival, *appended, *replayed]

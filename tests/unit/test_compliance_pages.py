"""The compliance pages claim nothing that is not there: tests, commands, links, presets, filled tables.

Each check is a function of a page's text that returns its faults, so that each is shown once to find a planted one.
"""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import tickvault as tv
from tickvault.cli.app import main
from tickvault.objects.lock.retention import PRESETS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "compliance"
PAGES = sorted(FOLDER.glob("*.md"))
#: The pages of one rule each; README.md is about all of them.
RULES = [path for path in PAGES if path.name != "README.md"]
HEADINGS = ["requirement", "how it is met", "the test that shows it", "what the operator must configure"]
STATUS = re.compile(r"\*\*(Met|Partly|Not met|The firm's)\.\*\*")
TEST = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")
#: Where a command ends and the shell goes on.
SHELL = {"|", "||", "&&", ";", ">", ">>", "2>", "&"}
#: What may stand before a command: the fields of cron, and variables.
BEFORE = re.compile(r"[\d*/,-]+|\w+=.*")
LINES_MAX = 150


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(text: str) -> Iterator[list[list[str]]]:
    """Yield each table: its headings, then its rows."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.findall(r"(?:^\|.*\n?)+", prose, re.MULTILINE):
        first, _, *rest = map(cells, block.splitlines())
        yield [first, *rest]


def assessment(text: str) -> list[list[str]]:
    """Return the rows of the one table that has the four headings."""
    (found,) = [table for table in tables(text) if table[0] == HEADINGS]
    return found[1:]


@lru_cache
def functions(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing_tests(text: str) -> list[str]:
    faults = [f"{path}::{name}" for path, name in TEST.findall(text) if not is_test(path, name)]
    # One that is written otherwise would not be looked at.
    named = re.findall(r"\btests/[^\s`]*", text)
    return faults + [name for name in named if not TEST.fullmatch(f"`{name}`")]


def is_test(path: str, name: str) -> bool:
    file = ROOT / path
    return name.startswith("test_") and file.is_file() and name in functions(file)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each `tickvault …` command line, in blocks of shell and between backticks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [found for found in re.findall(r"`([^`\n]+)`", prose) if found.startswith("tickvault ")]
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
        lexer.whitespace_split = True
        for inside_shell, segment in itertools.groupby(lexer, SHELL.__contains__):
            words = list(itertools.dropwhile(BEFORE.fullmatch, segment))
            # Behind the name of another program it is an argument of that one.
            if not inside_shell and words[:1] == ["tickvault"]:
                yield words[1:]


def parse(words: list[str]) -> None:
    """Parse a command line as it would be, and run nothing."""
    command: click.Command = main
    context = click.Context(command, info_name="tickvault")
    while isinstance(command, click.Group):
        if not words:
            raise click.UsageError("a command is missing")
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name!r}")
        if isinstance(found, click.Group):
            context = click.Context(found, info_name=name, parent=context)
        else:
            found.make_context(name, list(words), parent=context)
        command = found


def wrong_commands(text: str) -> list[str]:
    faults = []
    for words in commands(text):
        try:
            parse(words)
        except click.UsageError as error:
            faults.append(f"tickvault {shlex.join(words)}: {error.format_message()}")
    return faults


def dead_links(text: str) -> list[str]:
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        page = FOLDER / name
        if "://" in target:
            continue
        if not page.exists() or (anchor and anchor not in anchors(page.read_text())):
            faults.append(target)
    return faults


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def unfilled_tables(text: str) -> list[str]:
    faults = []
    for headings, *rows in tables(text):
        if not rows:
            faults.append(f"{headings}: no rows")
        for row in rows:
            if len(row) != len(headings) or not all(re.search(r"\w", cell) for cell in row):
                faults.append(f"{row}: {len(headings)} cells, each with words")
    return faults


def unfounded_rows(text: str) -> list[str]:
    """Rows that claim more than they show."""
    faults = []
    for requirement, met, test, _ in assessment(text):
        status = STATUS.match(met)
        if status is None:
            faults.append(f"{requirement}: begins with no status")
        elif not TEST.search(test) and not test.startswith("none: "):
            faults.append(f"{requirement}: names no test, and does not say why")
        elif status[1] in ("Met", "Partly") and not TEST.search(test):
            faults.append(f"{requirement}: {status[1]}, and no test shows it")
        elif status[1] in ("Partly", "Not met") and len(met) - len(status[0]) < len(" There is none"):
            faults.append(f"{requirement}: {status[1]}, and no reason")
    return faults


def presets_not_told(text: str) -> list[str]:
    rows = [row for table in tables(text) if table[0][:2] == ["preset", "years"] for row in table[1:]]
    told = {row[0]: row[1] for row in rows}
    expected = {}
    for preset in PRESETS.values():
        longer = f", up to {preset.years_max} on request" if preset.years_max > preset.lock.years else ""
        expected[f"`{preset.name}`"] = f"{preset.lock.years}{longer}"
    return [f"{name}: {told.get(name)}, not {years}" for name, years in expected.items() if told.get(name) != years] + [
        f"{name}: no preset" for name in told.keys() - expected.keys()
    ]


def test_the_pages_are_there() -> None:
    assert {path.name for path in PAGES} == {"README.md", "cftc-1.31.md", "china.md", "mifid.md", "sec-17a-4.md"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("check", [missing_tests, wrong_commands, dead_links, unfilled_tables])
def test_a_page_is_true(path: Path, check: Callable[[str], list[str]]) -> None:
    assert check(path.read_text()) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_a_page_claims_no_more_than_it_shows(path: Path) -> None:
    text = path.read_text()
    assert len(assessment(text)) >= 10
    assert unfounded_rows(text) == []
    assert TEST.search(text)
    assert list(commands(text))
    # No page without its gaps, its sources, and the way back to what the words mean.
    assert "**Not met.**" in text
    assert re.search(r"^## Sources\n\n- ", text, re.MULTILINE)
    assert "](README.md)" in text
    assert f"]({path.name})" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_read_in_one_sitting(path: Path) -> None:
    assert path.read_text().count("\n") < LINES_MAX


def test_every_preset_is_told_with_its_years() -> None:
    assert presets_not_told((FOLDER / "README.md").read_text()) == []
    pages = "".join(path.read_text() for path in RULES)
    for name in PRESETS:
        assert f"Preset `{name}`" in pages
        assert re.search(rf"tickvault [^`]*{name}`", pages), name


def test_the_identities_of_the_checklist_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKVAULT_VAULT", "data")
    tv.open("data").create_bucket("orders", retention="sec-17a-4")
    text = (FOLDER / "README.md").read_text()
    asked = [words for words in commands(text) if words[0] == "iam"]
    statuses = [CliRunner().invoke(main, words, prog_name="tickvault").exit_code for words in asked]
    # The last one asks what an auditor may not.
    assert asked[-1][:2] == ["iam", "simulate"]
    assert statuses == [0] * (len(asked) - 1) + [7]
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    with tv.open("data") as vault:
        assert [user.name for user in vault.identities.list_users()] == ["ivan", "mei", "olga"]
        vault["orders"].put("1", b"x")
        vault["orders"].get("1")
        assert [record.key for record in vault.audit.query(action="GetObject")] == ["1"]


ROW = "| (a) | {met} | {test} | nothing |\n"
TABLE = "| " + " | ".join(HEADINGS) + " |\n|---|---|---|---|\n"
HERE = "`tests/unit/test_compliance_pages.py::test_the_pages_are_there`"


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (missing_tests, "`tests/unit/test_compliance_pages.py::test_that_is_not_there`"),
        (missing_tests, "`tests/unit/test_nowhere.py::test_the_pages_are_there`"),
        (missing_tests, "`tests/unit/test_compliance_pages.py::missing_tests`"),
        (missing_tests, "`tests/unit/test_compliance_pages.py`"),
        (missing_tests, "tests/unit/test_compliance_pages.py::test_the_pages_are_there[a]"),
        (wrong_commands, "`tickvault bucket make orders`"),
        (wrong_commands, "`tickvault bucket create orders --forever`"),
        (wrong_commands, "`tickvault bucket create`"),
        (wrong_commands, "`tickvault lock enable orders --preset sec-17a-5`"),
        (wrong_commands, "```sh\n0 * * * *  tickvault audit head | ssh s && tickvault audit tail\n```\n"),
        (wrong_commands, "```sh\nexport A=b\nTICKVAULT_VAULT=/a tickvault bakup /mnt || logger -t tickvault x\n```\n"),
        (dead_links, "[a](nowhere.md)"),
        (dead_links, "[a](README.md#nowhere)"),
        (unfilled_tables, "| a | b |\n|---|---|\n| c | |\n"),
        (unfilled_tables, "| a | b |\n|---|---|\n| c | – |\n"),
        (unfilled_tables, "| a | b |\n|---|---|\n| c |\n"),
        (unfilled_tables, "| a | b |\n|---|---|\n| c | d | e |\n"),
        (unfilled_tables, "| a | b |\n|---|---|\n"),
        (unfounded_rows, TABLE + ROW.format(met="Met. It is", test=HERE)),
        (unfounded_rows, TABLE + ROW.format(met="**Certified.** It is", test=HERE)),
        (unfounded_rows, TABLE + ROW.format(met="**Met.** It is", test="none: it is plain")),
        (unfounded_rows, TABLE + ROW.format(met="**The firm's.**", test="somewhere")),
        (unfounded_rows, TABLE + ROW.format(met="**Not met.**", test="none: not there")),
        (presets_not_told, "| preset | years |\n|---|---|\n| `sec-17a-4` | 6 |\n"),
        (presets_not_told, "| preset | years |\n|---|---|\n| `forever` | 99 |\n"),
    ],
)
def test_a_check_finds_a_planted_fault(check: Callable[[str], list[str]], text: str) -> None:
    assert check(text) != []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (missing_tests, HERE),
        (wrong_commands, "`tickvault bucket create orders --retention sec-17a-4`"),
        (
            wrong_commands,
            "```sh\n0 * * * *  tickvault audit head | ssh s 'cat >> heads.txt'  # tickvault nothing\n```\n",
        ),
        (wrong_commands, '```sh\n0 2 * * *  tickvault verify || logger -t tickvault: "verify: $?"\n```\n'),
        (dead_links, "[a](README.md#set-it-up) [b](../how-to/lock-objects.md) [c](https://example.com)"),
        (unfilled_tables, "| a | b |\n|---|---|\n| c | `d\\|e` |\n"),
        (unfounded_rows, TABLE + ROW.format(met="**Met.** It is", test=HERE)),
    ],
)
def test_a_check_leaves_what_is_right(check: Callable[[str], list[str]], text: str) -> None:
    assert check(text) == []

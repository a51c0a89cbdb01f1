"""The documents say what the code does: commands, options, exit codes, settings, links, examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tickvault import errors
from tickvault.cli import app, reference, statuses

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_command_line_page_is_made_from_the_commands() -> None:
    assert page("docs/reference/cli.md") == reference.render(), "the page is old: make docs"


def test_every_option_is_on_the_command_line_page() -> None:
    """The rendering itself could forget one."""
    text = page("docs/reference/cli.md")
    for name, command in app.main.commands.items():
        assert f"tickvault {name}" in text
        for parameter in command.params:
            for flag in [*parameter.opts, *parameter.secondary_opts]:
                if flag.startswith("-"):
                    assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text), (name, flag)


def test_every_exit_code_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*?) \|", page("docs/reference/exit-codes.md"), re.MULTILINE))
    for kind, code in errors.EXIT_CODES.items():
        assert f"`{kind.__name__}`" in rows[str(code)]
    others = [
        statuses.EXIT_USAGE,
        statuses.EXIT_LOCAL_FILE,
        statuses.EXIT_BUG,
        statuses.EXIT_INTERRUPTED,
        statuses.EXIT_PIPE_CLOSED,
    ]
    assert {str(code) for code in others} <= set(rows)


def test_every_error_is_on_the_python_page() -> None:
    text = page("docs/reference/python.md")
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.TickVaultError):
            assert name in text


def test_every_environment_variable_is_documented() -> None:
    text = page("docs/reference/settings.md")
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    read = {name for source in sources for name in re.findall(r"\"(TICKVAULT_[A-Z_]+)\"", source)}
    assert {name for name in read if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_is_short_and_so_is_the_map() -> None:
    assert page("README.md").count("\n") <= 100
    assert page("ARCHITECTURE.md").count("\n") <= 150


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/how-to/several-processes.md"])
def test_python_examples_run(name: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)
    # What needs a running server is a test of the S3 door.
    script = "\n".join(block for block in blocks if "boto3" not in block)
    assert "tickvault" in script
    if name.endswith("several-processes.md"):
        script = "import tickvault\ntickvault.open('data').create_bucket('ticks')\n" + script
    if name == "README.md":
        script = "from tickvault.cli.app import main\nmain(['demo', '--no-serve'], standalone_mode=False)\n" + script
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKVAULT_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr

"""The page docs/reference/cli.md, made from the commands: `python -m tickvault.cli.reference > PAGE`.

Invariants: every command and every option that a user can type is on the page; a test compares page and
commands.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

_PREFACE = """\
# Command line

<!-- Made from the commands by `make docs`; change them, not this page. -->

```
tickvault COMMAND [OPTIONS] ARGUMENTS
```

**Vault.** `--vault DIR` names the vault's folder; the default is `./data`, or what `TICKVAULT_VAULT` says.
`demo`, `bucket create`, `ingest`, `simulate` and `serve` make a missing vault; every other command refuses.

**Places.** `raw/ES/1` is the object `ES/1` in the bucket `raw`: the first slash parts the two. A bare
bucket, or a key that ends in `/`, is a folder to `put` and `cp`. In `cp`, what begins with `/`, `./`, `../`
or `~/` is a local file.

**Output.** stdout carries answers only: listings, object bytes, JSON. Words, progress and errors go to
stderr, and a progress bar appears only when stderr is a terminal. `NO_COLOR` is respected.

**JSON.** With `--json`, stdout is JSON Lines: one object a line. `ls`, `bucket list`, `put`, `cp` and `rm`
print a line for each object or bucket; every other command prints one line. Times are integers in
nanoseconds UTC (`…_ns`), sizes are bytes. Fields are added over time and never renamed.

**Exit codes.** 0 is success; each kind of error has [a code of its own](exit-codes.md).
"""


def render() -> str:
    """Return the whole page."""
    from tickvault.cli.app import main

    sections = [_PREFACE]
    sections.extend(_section(context) for context in _contexts(click.Context(main, info_name="tickvault")))
    return "\n".join(sections)


def _contexts(parent: click.Context) -> Iterator[click.Context]:
    assert isinstance(parent.command, click.Group)
    for name in parent.command.list_commands(parent):
        command = parent.command.get_command(parent, name)
        assert command is not None, "a listed command exists"
        context = click.Context(command, info_name=name, parent=parent)
        if isinstance(command, click.Group):
            yield from _contexts(context)
        else:
            yield context


def _section(context: click.Context) -> str:
    command = context.command
    arguments = [one.metavar or "" for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join([context.command_path, "[OPTIONS]", *arguments])
    lines = [f"## {context.command_path}", "", "```", usage, "```", "", *_help(command), ""]
    options = [_option_row(one) for one in command.params if isinstance(one, click.Option)]
    lines += ["| option | meaning |", "|---|---|", *options, ""]
    return "\n".join(lines)


def _option_row(option: click.Option) -> str:
    # Not by click's own help record: its form changes with click's releases, and the page would with it.
    value = option.metavar or ("|".join(option.type.choices) if isinstance(option.type, click.Choice) else "")
    flags = ", ".join(sorted(option.opts, key=len)) + (f" {value}" if value else "")
    text = [" ".join((option.help or "").split())]
    if option.show_default:
        text.append(f"[default: {option.default}]")
    if option.show_envvar:
        text.append(f"[environment: {option.envvar}]")
    return "| `{}` | {} |".format(*(part.replace("|", "\\|") for part in (flags, " ".join(text))))


def _help(command: click.Command) -> Iterator[str]:
    """Yield a command's help as Markdown: paragraphs, then its examples as a block of code."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            _, *lines = paragraph.split("\n")
            assert lines[0].startswith("Example"), "a preformatted paragraph holds examples"
            yield "```sh"
            yield from (line.strip() for line in lines[1:])
            yield "```"
        else:
            yield paragraph
            yield ""


if __name__ == "__main__":
    click.echo(render(), nl=False)

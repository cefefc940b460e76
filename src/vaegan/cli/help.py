"""Help pages: panels of commands, arguments and grouped options, with examples.

They are drawn here rather than by typer, whose tables cut long flags off at 100 columns and differ between versions.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from rich.panel import Panel
    from rich.text import Text

MAX_WIDTH = 100
MAX_NAME_WIDTH = 34
EXAMPLES_HEADING = "Examples:"
ARGUMENTS, OPTIONS, COMMON_OPTIONS = "Arguments", "Options", "Common options"
Row = tuple["Text", "Text"]


class _DrawnHelp:
    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; click calls it."""
        formatter.write(_render(self, ctx))


class HelpCommand(_DrawnHelp, TyperCommand):
    """A command whose help is drawn by this module."""


class HelpGroup(_DrawnHelp, TyperGroup):
    """The program, whose help is drawn by this module."""


def usage_line(command: Any, ctx: Any) -> str:
    """Return how a command is called, such as "vaegan encode [OPTIONS] CKPT IMAGES...".

    Args:
        command: a command or a group of commands.
        ctx: click's context of the call, which holds the program's name.

    Returns:
        the line.
    """
    if isinstance(command, TyperGroup):
        return f"{ctx.command_path} COMMAND [ARGS]..."
    arguments = [_argument_name(param) for param in command.params if _is_argument(param)]
    return " ".join([ctx.command_path, "[OPTIONS]", *arguments])


def _render(command: Any, ctx: Any) -> str:
    """Return the help page of a command, with colors if stdout is a terminal that has them."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    description, examples = _split_docstring(command.help or "")
    with console.capture() as capture:
        console.print(Text.assemble(("Usage: ", "yellow"), usage_line(command, ctx)))
        console.print(Padding(Text(description), (1, 0)))
        if isinstance(command, TyperGroup):
            panels = [*_command_panels(command), *_parameter_panels(command, ctx)]
        else:
            panels = _parameter_panels(command, ctx)
        if examples:
            panels.insert(0, _examples_panel(examples))
        for panel in panels:
            console.print(panel)
        if command.epilog:
            console.print(Text(command.epilog))
    # some terminals keep the spaces at the ends of lines when text is copied
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _split_docstring(text: str) -> tuple[str, list[str]]:
    """Return the description in a docstring, one line per paragraph, and the lines of its examples."""
    description, _, examples = inspect.cleandoc(text).partition(EXAMPLES_HEADING)
    paragraphs = [" ".join(paragraph.split()) for paragraph in description.strip().split("\n\n")]
    return "\n\n".join(paragraphs), [line.strip() for line in examples.splitlines() if line.strip()]


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _argument_name(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required else f"[{name}]"


def _command_panels(group: TyperGroup) -> list[Panel]:
    from rich.text import Text

    rows_by_panel: dict[str, list[Row]] = {}
    command: Any
    for name, command in group.commands.items():
        summary = _split_docstring(command.help or "")[0].partition("\n")[0]
        rows_by_panel.setdefault(command.rich_help_panel, []).append((Text(name, "bold cyan"), Text(summary)))
    return _make_panels(rows_by_panel)


def _parameter_panels(command: Any, ctx: Any) -> list[Panel]:
    """Return the arguments, the command's own options, its groups of options, then the options of most commands."""
    rows_by_panel: dict[str, list[Row]] = {ARGUMENTS: [], OPTIONS: []}
    for param in command.get_params(ctx):
        if getattr(param, "hidden", False):
            continue
        if _is_argument(param):
            panel = ARGUMENTS
        elif isinstance(command, TyperGroup):
            panel = OPTIONS
        else:
            is_help = "--help" in param.opts
            panel = COMMON_OPTIONS if is_help else getattr(param, "rich_help_panel", None) or OPTIONS
        rows_by_panel.setdefault(panel, []).append((_name_text(param), _help_text(param)))
    rows_by_panel[COMMON_OPTIONS] = rows_by_panel.pop(COMMON_OPTIONS, [])
    return _make_panels({title: rows for title, rows in rows_by_panel.items() if rows})


def _name_text(param: Any) -> Text:
    """Return an argument's name, or an option's flags and its kind of value."""
    from rich.text import Text

    if _is_argument(param):
        return Text(_argument_name(param), "bold cyan")
    flags = sorted(param.opts, key=len)
    text = Text(", ".join(flags), "bold cyan")
    if param.metavar:
        text.append(f" {param.metavar}", "not bold yellow")
    if param.secondary_opts:
        negative = param.secondary_opts[0]
        fits = len(text) + len(negative) + 3 <= MAX_NAME_WIDTH
        text.append(" / " if fits else "\n", "not bold dim").append(negative)
    return text


def _help_text(param: Any) -> Text:
    from rich.text import Text

    text = Text(param.help or "")
    if default := _default_text(param):
        text.append(f"  [default: {default}]", "dim")
    return text


def _default_text(param: Any) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    is_value = isinstance(param.default, (str, int, float, Path)) and not isinstance(param.default, bool)
    return str(param.default) if param.show_default and is_value else ""


def _make_panels(rows_by_panel: dict[str, list[Row]]) -> list[Panel]:
    """Return one panel per group of rows; the second columns of all panels start at the same place."""
    from rich.panel import Panel
    from rich.table import Table

    names = [name for rows in rows_by_panel.values() for name, _ in rows]
    width = max((len(line) for name in names for line in name.plain.split("\n")), default=0)
    panels = []
    for title, rows in rows_by_panel.items():
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(width=min(width, MAX_NAME_WIDTH), overflow="fold")
        table.add_column(ratio=1)
        for row in rows:
            table.add_row(*row)
        panels.append(Panel(table, title=title, title_align="left", border_style="dim"))
    return panels


def _examples_panel(examples: list[str]) -> Panel:
    from rich.panel import Panel
    from rich.text import Text

    lines = Text()
    for line in examples:
        command, comment, words = line.partition("#")
        lines.append(command, "bold").append(comment + words, "dim").append("\n")
    lines.rstrip()
    return Panel(lines, title=EXAMPLES_HEADING.rstrip(":"), title_align="left", border_style="dim")

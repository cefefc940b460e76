"""Command-line parameters that commands share, and the flags that are generated from a settings class."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.completion import complete_checkpoint, complete_dataset, complete_run, completer_of
from vaegan.cli.help import COMMON_OPTIONS
from vaegan.config.options import OptionField, build_settings, option_fields

DEFAULT_VAE_RUN, DEFAULT_GAN_RUN = Path("runs/vae"), Path("runs/gan")
CHECKPOINT_HELP = "A run directory, a checkpoint in it, or a .safetensors file."


def dataset_argument(help_text: str, default: str) -> Any:
    """Return the argument DATA; help shows `default`, which the command fills in.

    Args:
        help_text: what the dataset is for.
        default: description of the dataset that is used without the argument.

    Returns:
        typer's argument.
    """
    return typer.Argument(metavar="DATA", help=help_text, show_default=default, autocompletion=complete_dataset)


def out_option(help_text: str, default: str, metavar: str = "FILE") -> Any:
    """Return the option --out; help shows `default`, which the command fills in.

    Args:
        help_text: what is written.
        default: default that help shows; the command fills it in.
        metavar: what the value is.

    Returns:
        the declaration.
    """
    return typer.Option("--out", "-o", metavar=metavar, help=help_text, show_default=default)


common_option = functools.partial(typer.Option, rich_help_panel=COMMON_OPTIONS)
"""Declare an option that many commands have. Help shows it after those of the command itself."""

Force = Annotated[bool, common_option("--force", help="Replace existing files, even those not made by vaegan.")]
ForcePreprocess = Annotated[bool, common_option("--force", help="Start over: replace the existing dataset.")]
ForceRestart = Annotated[bool, common_option("--force", help="Start over: replace the existing run.")]
Quiet = Annotated[bool, common_option("--quiet", "-q", help="Print only results and errors.")]
JsonFlag = Annotated[bool, common_option("--json", help="Print the result as one JSON object.")]
Device = Annotated[
    str, common_option("--device", metavar="DEVICE", help="Device to compute on: auto, cpu, cuda, cuda:1 or mps.")
]
ClassName = Annotated[
    str | None,
    typer.Option("--class", metavar="NAME", help="Class of the images, for a model that was trained with --cond."),
]
ImageClassName = Annotated[
    str | None,
    typer.Option(
        "--class",
        metavar="NAME",
        help="Class of the images, for a model that was trained with --cond.",
        show_default="the one that reconstructs each image best",
    ),
]
Best = Annotated[
    bool, typer.Option("--best", help="Use the weights with the lowest KID during training instead of the last.")
]
Out = Annotated[Path | None, out_option("Path of the output.", "samples/...", "PATH")]
EvaluationDir = Annotated[
    Path | None, out_option("Folder of the metrics, charts and report.", "evaluations/...", "DIR")
]
Separate = Annotated[bool, typer.Option("--separate", help="Write one file per image into a folder.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="config.json of another run, to take options from, but not its start; flags override it.",
    ),
]
OptionalCheckpointArg = Annotated[
    Path | None,
    typer.Argument(
        metavar="CKPT",
        help=CHECKPOINT_HELP,
        show_default="newest GAN run under runs/, else VAE run",
        autocompletion=complete_checkpoint,
    ),
]
CheckpointArg = Annotated[
    Path, typer.Argument(metavar="CKPT", help=CHECKPOINT_HELP, autocompletion=complete_checkpoint)
]
OptionalRunArg = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        help="A run directory.",
        show_default="newest GAN run under runs/, else VAE run",
        autocompletion=complete_run,
    ),
]
RunDirOption = Annotated[
    Path,
    typer.Option(
        "--run",
        metavar="DIR",
        help="Directory of the run; an unfinished run is resumed.",
        autocompletion=complete_run,
    ),
]
ImagesArg = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="Image files, folders, .zip files or a prepared dataset.")
]
DatasetArg = Annotated[Path | None, dataset_argument("A prepared dataset.", "newest under data/")]


def dataset_option(help_text: str, default: str) -> Any:
    """Return the option --data; help shows `default`, which the command fills in.

    Args:
        help_text: what the dataset is for.
        default: description of the dataset that is used without the option.

    Returns:
        typer's option.
    """
    return typer.Option("--data", metavar="DATA", help=help_text, show_default=default, autocompletion=complete_dataset)


def _flag_names(field: OptionField) -> str:
    return f"{field.flag}/--no-{field.flag[2:]}" if field.type is bool else field.flag


def _default_text(field: OptionField) -> str | bool:
    """Return what help shows as the default, or False for nothing."""
    if field.option.default_text is not None:
        return field.option.default_text
    if field.type is bool:
        return field.flag[2:] if field.default else False
    if field.default is None:
        return False
    return f"{field.default:,}" if field.type is int else f"{field.default:g}" if field.type is float else field.default


def _help_text(field: OptionField) -> str:
    """Return the help of an option, with its allowed values unless the sentences name all of them."""
    choices = field.option.allowed_values() or ()
    if all(re.search(rf"\b{choice}\b", field.option.help) for choice in choices):
        return field.option.help
    return f"{field.option.help} One of {', '.join(choices)}."


def _metavar(field: OptionField) -> str | None:
    """Return the name of an option's value in --help; None for a flag, which has no value."""
    if field.option.metavar is not None or field.type is bool:
        return field.option.metavar
    if field.option.allowed_values():
        return "NAME"
    name = {int: "N", float: "NUMBER", str: "TEXT"}[field.type]
    return f"{name}|{field.option.auto_value}" if field.option.auto_value else name


def _make_parameter(field: OptionField, panel: str | None) -> inspect.Parameter:
    """Return the keyword parameter of an option. It is None when the flag was not given."""
    # numbers are read by _parse_number and build_settings, whose errors name the flag, the value and its bounds
    parameter_type: Any = bool if field.type is bool else str
    choices = field.option.allowed_values()
    flag = typer.Option(
        _flag_names(field),
        help=_help_text(field),
        show_default=_default_text(field),
        metavar=_metavar(field),
        rich_help_panel=panel,
        autocompletion=completer_of(choices) if choices else None,
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[parameter_type | None, flag]
    )


def _parse_number(field: OptionField, value: str | bool) -> Any:
    """Return the number in the text of an option for numbers; other values, also invalid ones, as they are."""
    if field.type not in (int, float) or field.option.is_count:  # a count may be written as 300k
        return value
    try:
        return field.type(value)
    except ValueError:
        return value


def with_settings(
    settings_class: type, group_options: Callable[[Iterable[str]], Mapping[str, Sequence[str]]] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command one flag per option of `settings_class`.

    The command receives the settings in its parameter `settings`, or the options that were given as a dict in its
    parameter `options`, or both. An option that was not given is absent, so that a resumed run keeps its own value.

    Args:
        settings_class: dataclass of options.
        group_options: returns the names of the options in each group that help shows, by title. Without it, all are in
            one group.

    Returns:
        the decorator.
    """
    fields = option_fields(settings_class)
    groups = group_options(fields) if group_options else {None: list(fields)}
    option_parameters = [_make_parameter(fields[name], title) for title, names in groups.items() for name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own_parameters = dict(inspect.signature(command, eval_str=True).parameters)
        needs_options = own_parameters.pop("options", None) is not None
        needs_settings = own_parameters.pop("settings", None) is not None
        parameters = [*own_parameters.values(), *option_parameters]

        @functools.wraps(command)
        def run_command(**arguments: Any) -> None:
            given = {name: value for name in fields if (value := arguments.pop(name)) is not None}
            options = {name: _parse_number(fields[name], value) for name, value in given.items()}
            if needs_options:
                arguments["options"] = options
            if needs_settings:
                arguments["settings"] = build_settings(settings_class, options)
            command(**arguments)

        # typer reads the parameters from the signature
        run_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run_command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run_command.__wrapped__  # type: ignore[attr-defined]
        return run_command

    return decorate

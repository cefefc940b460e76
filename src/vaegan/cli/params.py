"""Command-line parameters that commands share, and the flags that are generated from a settings class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.config.options import OptionField, build_settings, option_fields

CHECKPOINT_HELP = "A run directory, a checkpoint in it, or a .safetensors file."


def out_option(help_text: str, default: str) -> Any:
    """Return the option --out; help shows `default`, which the command fills in.

    Args:
        help_text: what is written.
        default: default that help shows; the command fills it in.

    Returns:
        the declaration.
    """
    return typer.Option("--out", "-o", help=help_text, show_default=default)


Force = Annotated[bool, typer.Option("--force", help="Replace existing files, even those not made by vaegan.")]
ForcePreprocess = Annotated[bool, typer.Option("--force", help="Start over: replace the existing dataset.")]
ForceRestart = Annotated[bool, typer.Option("--force", help="Start over: replace the existing run.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Device = Annotated[str, typer.Option("--device", help="Device to compute on: auto, cpu, cuda, cuda:1 or mps.")]
Best = Annotated[
    bool, typer.Option("--best", help="Use the weights with the lowest KID during training instead of the last.")
]
Out = Annotated[Path | None, out_option("Path of the output.", "samples/...")]
EvaluationDir = Annotated[Path | None, out_option("Folder of the metrics, charts and report.", "evaluations/...")]
Separate = Annotated[bool, typer.Option("--separate", help="Write one file per image into a folder.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="config.json of another run, to take options from; flags override it.")
]
OptionalCheckpointArg = Annotated[
    Path | None,
    typer.Argument(metavar="[CKPT]", help=CHECKPOINT_HELP, show_default="newest GAN run under runs/, else VAE run"),
]
DatasetOfModel = Annotated[
    Path | None,
    typer.Argument(metavar="[DATA]", help="A prepared dataset with labels.", show_default="the one it was trained on"),
]
CheckpointArg = Annotated[Path, typer.Argument(metavar="CKPT", help=CHECKPOINT_HELP)]
OptionalRunArg = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", help="A run directory.", show_default="newest GAN run under runs/, else VAE run"),
]
RunDirOption = Annotated[Path, typer.Option("--run", help="Directory of the run; an unfinished run is resumed.")]
ImagesArg = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="Image files, folders, .zip files or a prepared dataset.")
]
DatasetArg = Annotated[
    Path | None, typer.Argument(metavar="[DATA]", help="A prepared dataset.", show_default="newest under data/")
]


def _flag_names(field: OptionField) -> str:
    return f"{field.flag}/--no-{field.flag[2:]}" if field.type is bool else field.flag


def _default_text(field: OptionField) -> str | bool:
    """Return what help shows as the default, or False for nothing."""
    if field.option.default_text is not None:
        return field.option.default_text
    if field.type is bool:
        return field.flag[2:] if field.default else f"no-{field.flag[2:]}"
    return False if field.default is None else str(field.default)


def _metavar(field: OptionField) -> str | None:
    if field.option.auto_value:
        return f"COUNT|{field.option.auto_value}"
    if allowed_values := field.option.allowed_values():
        return "|".join(allowed_values)
    return "COUNT" if field.option.is_count else None


def _make_parameter(field: OptionField) -> inspect.Parameter:
    """Return the keyword parameter of an option. It is None when the flag was not given."""
    # a count may be written as 300k: build_settings converts it
    parameter_type: Any = str if field.option.is_count else field.type
    flag = typer.Option(
        _flag_names(field), help=field.option.help, show_default=_default_text(field), metavar=_metavar(field)
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[parameter_type | None, flag]
    )


def with_settings(settings_class: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command one flag per option of `settings_class`.

    The command receives the settings in its parameter `settings`, or the options that were given as a dict in its
    parameter `options`, or both. An option that was not given is absent, so that a resumed run keeps its own value.

    Args:
        settings_class: dataclass of options.

    Returns:
        the decorator.
    """
    fields = option_fields(settings_class)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own_parameters = dict(inspect.signature(command, eval_str=True).parameters)
        needs_options = own_parameters.pop("options", None) is not None
        needs_settings = own_parameters.pop("settings", None) is not None
        parameters = [*own_parameters.values(), *(_make_parameter(field) for field in fields.values())]

        @functools.wraps(command)
        def run_command(**arguments: Any) -> None:
            options = {name: value for name in fields if (value := arguments.pop(name)) is not None}
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

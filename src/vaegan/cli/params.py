"""From a settings class to a command's flags: every option is declared once, as a field."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.config.options import OptionField, option_fields

Force = Annotated[bool, typer.Option("--force", help="Replace what is there, even if it was not made by vaegan.")]
ForcePreprocess = Annotated[bool, typer.Option("--force", help="Start over: replace the prepared set that is there.")]
ForceRestart = Annotated[bool, typer.Option("--force", help="Start over: replace the run that is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Best = Annotated[bool, typer.Option("--best", help="The weights that scored best during training instead of the last.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where the result goes.", show_default="samples/...")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="Another run's config.json to start from; flags win over it.", show_default=False),
]
OptionalCheckpointArg = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CKPT]",
        help="A run, a checkpoint in it, or a .safetensors file.",
        show_default="newest GAN run under runs/, else VAE run",
    ),
]
CheckpointArg = Annotated[
    Path, typer.Argument(metavar="CKPT", help="A run, a checkpoint in it, or a .safetensors file.")
]
ImagesArg = Annotated[
    list[Path], typer.Argument(metavar="PICTURES...", help="Pictures, folders of them, zips, or a prepared set.")
]
DatasetArg = Annotated[
    Path | None,
    typer.Argument(metavar="[DATA]", help="A prepared set.", show_default="newest under data/"),
]


def _make_parameter(field: OptionField) -> inspect.Parameter:
    """One flag: None when it was not given, so that a resumed run can tell."""
    kind: Any = str if field.option.is_count else field.type
    default = field.option.default_text or (str(field.default) if field.default not in (None, "") else None)
    if field.type is bool:
        names = [f"{field.flag}/--no-{field.flag[2:]}"]
        default = field.option.default_text or (field.flag[2:] if field.default else f"no-{field.flag[2:]}")
    else:
        names = [field.flag]
    allowed = field.option.allowed_values()
    metavar = "|".join(allowed) if allowed else ("COUNT" if field.option.is_count else None)
    if field.option.auto_value:
        metavar = f"COUNT|{field.option.auto_value}"
    declared = typer.Option(
        *names,
        help=field.option.help,
        show_default=default if default not in (None, "-") else False,
        metavar=metavar,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, declared],
    )


def with_settings(settings_class: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every option of `settings`; those that were typed reach it as the dict `options`."""
    fields = option_fields(settings_class)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "options"
        ]
        flags = [_make_parameter(field) for field in fields.values()]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            options = {name: given.pop(name) for name in fields}
            command(**given, options={name: value for name, value in options.items() if value is not None})

        run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *flags]}
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return decorate

"""From a settings class to a command's flags: every option is declared once, as a field."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.config.options import OptionField, options_of

Force = Annotated[bool, typer.Option("--force", help="Replace what is there, even if it was not made by vaegan.")]
Anew = Annotated[bool, typer.Option("--force", help="Start over: replace the prepared set that is there.")]
Restart = Annotated[bool, typer.Option("--force", help="Start over: replace the run that is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Best = Annotated[bool, typer.Option("--best", help="The weights that scored best during training instead of the last.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where the result goes.", show_default="samples/...")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="Another run's config.json to start from; flags win over it.", show_default=False),
]
Checkpoint = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CKPT]",
        help="A run, a checkpoint in it, or a .safetensors file.",
        show_default="newest GAN run under runs/, else VAE run",
    ),
]
Model = Annotated[Path, typer.Argument(metavar="CKPT", help="A run, a checkpoint in it, or a .safetensors file.")]
Pictures = Annotated[
    list[Path], typer.Argument(metavar="PICTURES...", help="Pictures, folders of them, zips, or a prepared set.")
]
Data = Annotated[
    Path | None,
    typer.Argument(metavar="[DATA]", help="A prepared set.", show_default="newest under data/"),
]


def _parameter(field: OptionField) -> inspect.Parameter:
    """One flag: None when it was not given, so that a resumed run can tell."""
    kind: Any = str if field.option.count else field.type
    default = field.option.shown or (str(field.default) if field.default not in (None, "") else None)
    if field.type is bool:
        names = [f"{field.flag}/--no-{field.flag[2:]}"]
        default = field.option.shown or (field.flag[2:] if field.default else f"no-{field.flag[2:]}")
    else:
        names = [field.flag]
    allowed = field.option.names()
    metavar = "|".join(allowed) if allowed else ("COUNT" if field.option.count else None)
    if field.option.word:
        metavar = f"COUNT|{field.option.word}"
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


def takes(settings: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every option of `settings`; those that were typed reach it as the dict `options`."""
    fields = options_of(settings)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "options"
        ]
        flags = [_parameter(field) for field in fields.values()]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            options = {name: given.pop(name) for name in fields}
            command(**given, options={name: value for name, value in options.items() if value is not None})

        run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *flags]}
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return decorate

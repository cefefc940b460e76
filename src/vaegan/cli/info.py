"""vaegan info."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.options import Json


def info(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A prepared set, a run, a checkpoint or a .safetensors file.")
    ],
    json: Json = False,
) -> None:
    """Say what a prepared set, run or checkpoint is."""
    from vaegan.inspection import inspect

    facts = inspect(path)
    if json:
        print(encoder.dumps(facts, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")

"""vaegan explore."""

from __future__ import annotations

from typing import Any

from vaegan.cli.checkpoint_args import checkpoint, label
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Best, Checkpoint, Device, Json, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import ExploreSettings
from vaegan.events import Note


@takes(ExploreSettings)
def explore(
    ckpt: Checkpoint = None,
    best: Best = False,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Open the latent space in a browser: a map of the faces, a slider for each leading axis, your own pictures."""
    settings = build(ExploreSettings, options)
    with reporting(quiet) as emit:
        from vaegan.explore.serve import check_extra, listen, open_browser, serve

        check_extra()
        path = checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights
        from vaegan.explore.server import make_app
        from vaegan.explore.session import leave_cores, open_studio

        with listen(settings.port) as found:
            studio = open_studio(path, label(read_weights(path).path), device, emit)
            host, port = found.getsockname()
            leave_cores()
            url = f"http://{host}:{port}/"
            results({"page": url}, json)
            emit(Note("Ctrl-C ends it"))
            if settings.browser:
                open_browser(url)
            serve(make_app(studio, port), found)

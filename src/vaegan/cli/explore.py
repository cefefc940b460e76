"""vaegan explore."""

from __future__ import annotations

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, Device, JsonFlag, OptionalCheckpointArg, Quiet, with_settings
from vaegan.config.tool_settings import ExploreSettings
from vaegan.events import Note


@with_settings(ExploreSettings)
def explore(
    ckpt: OptionalCheckpointArg = None,
    best: Best = False,
    device: Device = "auto",
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: ExploreSettings,
) -> None:
    """Explore faces in a browser: a map, sliders, and your own images.

    Examples:
        vaegan explore
        vaegan explore runs/gan --port 9000 --no-browser
    """
    from vaegan.explore.serve import open_browser, open_listening_socket, require_explore_packages, run_server

    require_explore_packages()
    with open_listening_socket(settings.port) as listener:
        with event_reporter(quiet) as emit:
            path = resolve_checkpoint(ckpt, emit, best)
            from vaegan.checkpoint import read_weights_info
            from vaegan.explore.server import make_app
            from vaegan.explore.session import limit_torch_threads, open_session

            session = open_session(path, weights_slug(read_weights_info(path).path), device, emit)
        host, port = listener.getsockname()
        limit_torch_threads()
        url = f"http://{host}:{port}/"
        print_results({"page": url}, as_json)
        emit(Note("Press Ctrl-C to stop"))
        if settings.browser:
            open_browser(url)
        run_server(make_app(session, port), listener)

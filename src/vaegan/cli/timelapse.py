"""vaegan timelapse."""

from __future__ import annotations

from vaegan.cli.checkpoint_args import resolve_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Force, JsonFlag, OptionalRunArg, Out, Quiet, with_settings
from vaegan.config.tool_settings import TimelapseSettings


@with_settings(TimelapseSettings)
def timelapse(
    run: OptionalRunArg = None,
    out: Out = None,
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: TimelapseSettings,
) -> None:
    """Animate the previews of a training as GIF, WebP or MP4.

    Examples:
        vaegan timelapse runs/gan --format mp4
    """
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(run, emit)
        from vaegan.inference.timelapse import write_timelapse
        from vaegan.run_dir import RunDir

        animation_path, num_previews = write_timelapse(RunDir(path), settings, out, force, emit)
    print_results({"timelapse": animation_path}, as_json, num_previews=num_previews)

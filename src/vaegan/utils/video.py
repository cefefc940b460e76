"""Read and write MP4 files with PyAV, which the extra "video" installs."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.errors import VaeganError, error_text
from vaegan.utils.files import atomic_write, open_regular

if TYPE_CHECKING:
    from PIL import Image

VIDEO_INSTALL_HINT = "pip install 'vaegan[video]'"
MP4_CODECS = {"libx264": {"crf": "16"}, "mpeg4": {"qscale": "2"}}
"""Encoders in order of preference, with options for almost no visible loss. An FFmpeg build may lack libx264."""


def has_pyav() -> bool:
    """Return whether PyAV is installed.

    Returns:
        whether it can be imported.
    """
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def require_pyav(path: Path | str) -> None:
    """Check that PyAV, which writing MP4 needs, is installed.

    Args:
        path: file to write or option, for the message.

    Raises:
        VaeganError: if it is not.
    """
    if not has_pyav():
        raise VaeganError(f"{path}: MP4 needs PyAV: {VIDEO_INSTALL_HINT}, or name a .gif or .webp file")


def read_video_comment(path: Path) -> str:
    """Return the comment in a video's metadata.

    Args:
        path: the video.

    Returns:
        the comment; "" if it has none, is no video, or PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        return ""
    try:
        with open_regular(path) as file, av.open(file) as container:
            return str(container.metadata.get("comment", ""))
    except (av.error.FFmpegError, OSError, ValueError):
        return ""


def write_mp4(frames: Iterable[Image.Image], path: Path, fps: float, comment: str) -> None:
    """Write an MP4 file that browsers and phones play: H.264, 4:2:0, index at the start of the file.

    The frames are encoded one at a time.

    Args:
        frames: RGB, all of one size, width and height even.
        path: file to replace.
        fps: frames per second.
        comment: stored in the metadata.

    Raises:
        VaeganError: if no H.264 encoder is there, or the file cannot be written.
    """
    import av

    codec = next((name for name in MP4_CODECS if name in av.codecs_available), None)
    if codec is None:
        raise VaeganError(
            f"{path}: the installed PyAV has none of the encoders {', '.join(MP4_CODECS)}: {VIDEO_INSTALL_HINT},"
            " or name a .gif file"
        )

    def write(partial: Path) -> None:
        try:
            with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
                container.metadata["comment"] = comment
                _encode_frames(container, codec, frames, fps)
        except av.error.FFmpegError as error:
            raise OSError(error_text(error)) from error

    atomic_write(path, write)


def _encode_frames(container: Any, codec: str, frames: Iterable[Image.Image], fps: float) -> None:
    import av

    stream: Any = None
    for frame in frames:
        if stream is None:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=MP4_CODECS[codec])
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_image(frame)))
    container.mux(stream.encode(None))

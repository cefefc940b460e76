"""The options of all commands but train-vae and train-gan: one dataclass per command."""

from __future__ import annotations

from dataclasses import dataclass

from vaegan.config.options import MAX_SEED, option, runtime_option

SAMPLES_PER_PICK = 8
SCALE_HELP = "Whole number by which the images are enlarged."


@dataclass(frozen=True, kw_only=True)
class PreprocessSettings:
    """Options of preprocess.

    Those declared with `runtime_option` change how the work is done, not the dataset.
    """

    size: int = option(64, "Side of the square images, in pixels: 32, 64, 128 or 256.", min=32, max=256)
    fit: str = option(
        "crop",
        "How an image becomes square; smart crops to the part with the most detail.",
        choices=("crop", "pad", "stretch", "smart"),
    )
    crop_position: str = option(
        "center", "With --fit crop: part of the image to keep.", choices=("center", "top", "bottom", "left", "right")
    )
    pad_mode: str = option(
        "edge",
        "With --fit pad: fill the border with the edge pixels, a color or a blurred copy.",
        choices=("edge", "color", "blur"),
    )
    background: str = option(
        "white", "Color behind transparent images and for --pad-mode color: a name or #rrggbb.", metavar="COLOR"
    )
    grayscale: bool | None = option(
        None,
        "Store one channel instead of three.",
        default_text="grayscale if all images are gray, else no-grayscale",
    )
    gray_bits: str = option(
        "auto",
        "Bits that 16-bit grayscale images use, of which the lowest is black and the highest white;"
        " auto: as the files' tags say, else what all images need.",
        choices=("auto", "8", "10", "12", "14", "16"),
    )
    frames: str = option("first", "Frames of an animated image to use.", choices=("first", "all"))
    include_generated: bool = option(False, "Also use images that vaegan made: samples, previews and grids.")
    min_side: int = option(16, "Skip images whose shorter side has fewer pixels; 0 = no limit.", min=0)
    max_aspect: float | None = option(
        None, "Skip images whose longer side exceeds this many times the shorter side.", min=1, default_text="no limit"
    )
    max_pixels: int = option(
        200_000_000, "Skip images with more pixels, e.g. 50M.", min=1, is_count=True, default_text="200M"
    )
    dedupe: str = option(
        "exact",
        "Drop files with identical bytes (exact), also images that look alike (near), or none (off).",
        choices=("exact", "near", "off"),
    )
    val_fraction: float = option(0.1, "Fraction of images reserved for validation; 0 = none.", min=0, max=0.5)
    group_by: str | None = option(
        None, "Regular expression: images whose paths have the same matching text stay in one split.", metavar="REGEX"
    )
    labels: str | None = option(
        None,
        "Labels of the images: a .csv, .tsv, .jsonl or CelebA .txt file, the word folders (the folder of an image is"
        " its class), or none.",
        default_text="metadata.csv or metadata.jsonl in SRC, if there is one",
    )
    label_columns: str | None = option(
        None,
        "Columns of --labels to use, separated by commas; age:numeric also gives the kind (binary, categorical or"
        " numeric).",
        is_name_list=True,
        default_text="all that can be labels",
    )
    strict: bool = runtime_option(False, "Fail and write nothing when a file other than metadata is skipped.")
    workers: int | None = runtime_option(
        None, "Number of worker processes.", min=1, max=4096, default_text="one per core"
    )
    pool: str = runtime_option(
        "local", "Run the workers on this machine (local) or on a Ray cluster (ray).", choices=("local", "ray")
    )
    ray_address: str | None = runtime_option(
        None, "With --pool ray: address of the cluster.", default_text="a running cluster", metavar="ADDRESS"
    )


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Options of sample."""

    n: int = option(64, "Number of images.", min=1, max=1_000_000, is_count=True)
    seed: int = option(0, "Seed of the first image; the next images have the next seeds.", min=0, max=MAX_SEED)
    truncation: float = option(
        1.0,
        "Factor on the distance of latents from the center of their kind; below 1 for more typical faces.",
        min=0,
        max=2,
    )
    reencode: int = option(
        0, "Decode and encode each latent so many times first: calmer, less varied faces.", min=0, max=16, is_count=True
    )
    pick: int | None = option(
        None,
        "Number of images to pick from --of: those most like real faces, without copies and repetitions.",
        min=1,
        max=8192,
        is_count=True,
    )
    of: int | None = option(
        None,
        "With --pick: number of samples to pick from.",
        min=1,
        max=65536,
        is_count=True,
        default_text=f"{SAMPLES_PER_PICK} x --pick",
    )
    scale: int = option(1, SCALE_HELP, min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class ReconstructSettings:
    """Options of reconstruct, and of info --outliers."""

    n: int = option(64, "Maximum number of images.", min=1, max=8192, is_count=True)
    scale: int = option(1, SCALE_HELP, min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """Options of decode."""

    scale: int = option(1, SCALE_HELP, min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class AnimationSettings:
    """Options of the commands that write an animation."""

    format: str | None = option(
        None,
        "Format of the animation; mp4 needs vaegan[video].",
        choices=("gif", "webp", "mp4"),
        default_text="as the ending of --out, else gif",
    )


@dataclass(frozen=True, kw_only=True)
class TimelapseSettings(AnimationSettings):
    """Options of timelapse."""

    fps: float | None = option(
        None, "Previews per second.", min=0.5, max=60, default_text="1 to 16, so that it lasts about 6 seconds"
    )
    frames: int = option(240, "Maximum number of previews, evenly spaced.", min=2, max=10_000)
    hold_last: float = option(2.0, "Seconds to show the last preview.", min=0, max=60)
    captions: bool = option(True, "Write the training step above each preview.")
    scale: int = option(1, SCALE_HELP, min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class EditSettings:
    """Options of edit."""

    n: int = option(16, "Maximum number of images.", min=1, max=2048, is_count=True)
    strength: float = option(1.0, "Factor on the change; below 0 it goes the other way.", min=-10, max=10)
    invert_steps: int = option(
        0,
        "Gradient steps to find the latent of each image (GAN inversion), which keeps more of the face; 0 = encoder"
        " only.",
        min=0,
        max=100_000,
        is_count=True,
    )
    scale: int = option(1, SCALE_HELP, min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class InterpolateSettings(AnimationSettings):
    """Options of interpolate."""

    fps: float = option(16.0, "Frames per second of the animation; at most 50 for a GIF.", min=1, max=120)
    frames: int = option(32, "Frames from one face to the next, both included.", min=2, max=10_000)
    method: str | None = option(
        None,
        "Interpolation: on a great circle (slerp) or a straight line (lerp).",
        choices=("slerp", "lerp"),
        default_text="slerp, or lerp for a uniform prior",
    )
    easing: str = option(
        "linear", "Keep a constant speed (linear), or slow down at each face (smooth).", choices=("linear", "smooth")
    )
    loop: bool = option(False, "Continue from the last face to the first.")
    ping_pong: bool = option(True, "Without --loop: play the animation forwards, then backwards.")
    scale: int = option(4, "Whole number by which the animation is enlarged.", min=1, max=16)
    truncation: float = option(
        1.0,
        "With --seeds: factor on the distance from the center of their kind; below 1 for more typical faces.",
        min=0,
        max=2,
    )
    reencode: int = option(
        0,
        "With --seeds: decode and encode each latent so many times first: calmer, less varied faces.",
        min=0,
        max=16,
        is_count=True,
    )
    invert_steps: int = option(
        0,
        "With --from and --to: gradient steps to find the latent of each image (GAN inversion); 0 = encoder only.",
        min=0,
        max=100_000,
        is_count=True,
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Options of evaluate and compare."""

    n: int = option(2000, "Number of samples to compare with validation images.", min=16, max=1_000_000, is_count=True)
    seed: int = option(0, "Seed of the first sample, and of the selection of real images.", min=0, max=MAX_SEED)
    inception: str | None = option(
        None,
        "Also compute FID, KID, precision and recall in Inception features: a weights file of torch-fidelity,"
        " or the word download. Needs vaegan[metrics].",
        metavar="FILE|download",
    )


@dataclass(frozen=True, kw_only=True)
class ExploreSettings:
    """Options of explore."""

    port: int | None = option(
        None, "Port on this machine.", min=1, max=65535, default_text="8765, or the next free one"
    )
    browser: bool = option(True, "Open the page in a browser.")


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Options of demo."""

    minutes: float = option(10.0, "Minutes that the whole demo may take.", min=0.1, max=10_000)
    n: int = option(8000, "Number of faces to draw.", min=16, max=1_000_000, is_count=True)
    seed: int = option(0, "Seed of the drawn faces and of the training.", min=0, max=MAX_SEED)

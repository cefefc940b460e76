"""What is decided before the first step: a new run's options, or a resumed run's, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaegan.checkpoint import Weights, read_weights
from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.options import build, contradictions, former, known, options_of
from vaegan.config.settings import LENGTHS, PURPOSES, GANSettings, VAESettings
from vaegan.data.dataset import PreparedSet, newest_set, open_set
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Emit, Note
from vaegan.run_dir import Run
from vaegan.training.augment import policy
from vaegan.training.distributed import World
from vaegan.training.precision import Place, choose_place
from vaegan.utils.files import read_json, sha256

Settings = VAESettings | GANSettings


@dataclass(frozen=True)
class Wish:
    """What the user asked for: options that were given, and paths. `kind` is "vae" or "gan".

    probe: whether the length of the latents is to be found by trying several; tune: whether the batch size is.
    """

    kind: str
    run: Run
    given: Mapping[str, Any]
    data: Path | None
    from_vae: Path | None
    config: Path | None
    force: bool
    probe: bool = False
    tune: bool = False

    @property
    def settings_class(self) -> type[VAESettings] | type[GANSettings]:
        """Class of the kind's settings."""
        return VAESettings if self.kind == "vae" else GANSettings


@dataclass(frozen=True)
class Job:
    """Everything decided. `saved` is the config.json of a run that is resumed.

    probed, tuned: what was found by trying latent lengths and batch sizes.
    """

    wish: Wish
    settings: Settings
    model: ModelConfig
    data: PreparedSet
    place: Place
    saved: Mapping[str, Any] | None
    from_vae: Weights | None = None
    probed: Mapping[str, Any] | None = None
    tuned: Mapping[str, Any] | None = None

    @property
    def run(self) -> Run:
        """Where it all goes."""
        return self.wish.run


def decide(wish: Wish, emit: Emit, world: World) -> Job:
    """Begin a new run, or resume the one that is there. Raises VaeganError for all that contradicts itself.

    Every process decides by itself, from the same files.
    """
    build(wish.settings_class, wish.given)  # a bad value is told before anything else
    policy(str(wish.given.get("augment", "none")))
    return _resume(wish, world) if wish.run.exists() and not wish.force else _begin(wish, emit, world)


def _base(path: Path | None, kind: str, settings_class: type) -> dict[str, Any]:
    """Options of the run whose config.json `path` is."""
    if path is None:
        return {}
    saved = read_json(path)
    if saved.get("kind") != kind or not isinstance(saved.get("options"), dict):
        raise VaeganError(f"--config {path}: expected the config.json of a {kind} run")
    told = {name: value for name, value in saved["options"].items() if value is not None}
    try:
        build(settings_class, told)
    except UsageError as error:
        raise UsageError(f"--config {path}: {error}") from error
    return former(settings_class) | told


def _from_config(wish: Wish) -> dict[str, Any]:
    """Options that --config gives: not those that are to be tried, or follow from the purpose or from the VAE."""
    left = {"latent_dim"} if wish.probe or wish.from_vae is not None else set()
    left |= {"batch_size"} if wish.tune else set()
    left |= {"preset"} if wish.from_vae is not None else set()
    left |= _purpose(wish).keys()
    base = _base(wish.config, wish.kind, wish.settings_class)
    return {name: value for name, value in base.items() if name not in left}


def _purpose(wish: Wish) -> Mapping[str, Any]:
    return PURPOSES.get(str(wish.given.get("purpose")), {})


def _other_lengths(given: Mapping[str, Any]) -> dict[str, None]:
    """The lengths that are not in force where one of them is given."""
    return dict.fromkeys(LENGTHS) if any(given.get(name) is not None for name in LENGTHS) else {}


def _begin(wish: Wish, emit: Emit, world: World) -> Job:
    wish.run.refuse_foreign(wish.force)
    settings: Settings = build(
        wish.settings_class, _from_config(wish), _purpose(wish), _other_lengths(wish.given), wish.given
    )
    vae = _read_vae(wish.from_vae) if wish.from_vae is not None else None
    if vae is not None and vae.path.resolve().is_relative_to(wish.run.path.resolve()):
        raise UsageError(f"--from-vae {vae.path} lies in {wish.run.path}, where the GAN is to go: choose another --run")
    data = _find_data(wish.data, vae, emit)
    place = choose_place(world.device(settings.device), settings.precision)
    if vae is not None:
        settings, model = _follow(settings, vae, data)
    else:
        preset = settings.preset or ("base" if place.device.type == "cuda" else "small")
        row = PRESETS[preset]
        latent_dim = row.latent_dim if wish.probe else settings.latent_dim or row.latent_dim
        settings = replace(settings, preset=preset, latent_dim=latent_dim)
        model = ModelConfig(data.size, data.channels, latent_dim, row.width)
    if isinstance(settings, GANSettings):
        model = _with_prior(model, settings.prior, vae)
        settings = settings.completed(vae is not None)
        if settings.augment_target is not None and not policy(settings.augment):
            raise UsageError(
                f"--augment-target {settings.augment_target:g} adapts augmentations, and there are none: add --augment"
                " color,translation"
            )
    return Job(wish, settings, model, data, place, None, vae)


def _with_prior(model: ModelConfig, prior: str | None, vae: Weights | None) -> ModelConfig:
    """model: of the VAE, or from scratch; prior: as asked."""
    if prior in (None, model.prior):
        return model
    if prior == "mixture":
        scratch, without = "the VAE finds it: add --from-vae", "found one normal to do as well: leave it out"
        raise UsageError(f"--prior mixture: {scratch if vae is None else f'{vae.path} {without}'}")
    return replace(model.trained(), prior=prior)


def _read_vae(path: Path) -> Weights:
    weights = read_weights(path)
    if weights.kind != "vae":
        raise VaeganError(f"--from-vae {path}: this is a {weights.kind.upper()}; give a run of vaegan train-vae")
    return weights


def _follow(settings: Settings, vae: Weights, data: PreparedSet) -> tuple[Settings, ModelConfig]:
    """Take the network's shape from the VAE, and refuse what contradicts it."""
    config = vae.config
    if (data.size, data.channels) != (config.size, config.channels):
        grey = " --grayscale" if config.channels == 1 else ""
        grey = ", without --grayscale" if data.channels < config.channels else grey
        raise VaeganError(
            f"{data.path} holds {data.size}x{data.size} pictures of {data.channels} channels, but {vae.path} was"
            f" trained on {config.size}x{config.size} of {config.channels}: prepare them with --size"
            f" {config.size}{grey}, or give --from-vae a VAE that was trained on such pictures"
        )
    if settings.latent_dim not in (None, config.latent_dim):
        raise UsageError(
            f"--latent-dim {settings.latent_dim} contradicts {vae.path}, whose latents have {config.latent_dim}:"
            " leave it out"
        )
    names = [name for name, row in PRESETS.items() if row.width == config.width]
    if settings.preset is not None and settings.preset not in names:
        theirs = names[0] if names else f"of width {config.width}"
        raise UsageError(f"--preset {settings.preset} contradicts {vae.path}, which is {theirs}: leave it out")
    return replace(settings, preset=settings.preset or (names or ["small"])[0], latent_dim=config.latent_dim), config


def _find_data(data: Path | None, vae: Weights | None, emit: Emit) -> PreparedSet:
    if data is not None:
        return open_set(data)
    if vae is not None:
        run = next((Run(parent) for parent in vae.path.resolve().parents if Run(parent).exists()), None)
        if run is None:
            raise VaeganError(f"{vae.path} is in no run that names its set: give DATA, a prepared set")
        path = Path(str(run.config()["data"].get("path", "")))
        emit(Note(f"Using {_short(path)}, which the VAE was trained on"))
        return open_set(path)
    newest = newest_set(Path("data"))
    if newest is None:
        raise VaeganError("no prepared set under data/: make one with: vaegan preprocess FOLDER")
    emit(Note(f"Using {newest}, the newest prepared set"))
    return open_set(newest)


def _short(path: Path) -> Path:
    """Relative to the working directory where it lies under it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _resume(wish: Wish, world: World) -> Job:
    run, saved, settings_class = wish.run, wish.run.config(), wish.settings_class
    if saved["kind"] != wish.kind:
        raise VaeganError(
            f"--run {run.path}: this is a {saved['kind'].upper()} run, which vaegan train-{saved['kind']} goes on"
            " with; choose another --run"
        )
    try:
        options = known(settings_class, saved["options"])
        was: Settings = build(settings_class, options)
        model = build(ModelConfig, former(ModelConfig), saved["model"])
    except UsageError as error:
        raise VaeganError(f"{run.path / 'config.json'} is damaged: {error}") from error
    asked = {**_from_config(wish), **wish.given}
    for name in contradictions(settings_class, options, asked):
        flag = options_of(settings_class)[name].flag
        of, out = ("", "it") if name in wish.given or wish.config is None else (f" of {wish.config}", "--config")
        raise UsageError(
            f"{flag} {asked[name]}{of} contradicts {run.path}, which was started with {flag}"
            f" {getattr(was, name)}: leave {out} out to go on, or choose another --run"
        )
    if wish.probe and not saved.get("probed"):
        raise UsageError(
            f"--latent-dim auto contradicts {run.path}, which was started with --latent-dim {model.latent_dim}: leave"
            " it out to go on, or choose another --run"
        )
    _refuse_other_vae(wish, saved)
    data = open_set(wish.data or Path(str(saved["data"].get("path", ""))))
    if data.fingerprint != saved["data"].get("fingerprint"):
        raise VaeganError(
            f"{data.path} is not the set that {run.path} was trained on (its pictures differ): give that one, or"
            " choose another --run"
        )
    settings: Settings = build(settings_class, options, _other_lengths(wish.given), wish.given)
    precision = settings.precision
    if precision == "auto":  # what was found best where the run began: another precision is another run
        precision = str(saved["plan"].get("precision", precision))
    place = choose_place(world.device(settings.device), precision)
    return Job(wish, settings, model, data, place, saved)


def vae_of_resumed(job: Job) -> Weights | None:
    """The VAE that a resumed run was started from, for a run that was stopped before its first checkpoint.

    Raises VaeganError when it is gone or was trained further.
    """
    source = (job.saved or {}).get("from_vae")
    if not source:
        return None
    path = job.wish.from_vae or Path(str(source.get("path", "")))
    try:
        weights = _read_vae(path)
    except VaeganError as error:
        raise VaeganError(f"{job.run.path} has no checkpoint yet and its VAE is gone ({error}): add --force") from error
    if source.get("sha256") != sha256(weights.path):
        raise VaeganError(f"{job.run.path} has no checkpoint yet and {path} has changed since: start over with --force")
    return weights


def _refuse_other_vae(wish: Wish, saved: Mapping[str, Any]) -> None:
    if wish.from_vae is None:
        return
    path, weights, source = wish.run.path, _read_vae(wish.from_vae), saved.get("from_vae")
    if not source:
        raise UsageError(
            f"--from-vae {wish.from_vae} contradicts {path}, which was started from scratch: choose another --run"
        )
    if source.get("sha256") != sha256(weights.path):
        raise UsageError(
            f"--from-vae {wish.from_vae} is not the VAE that {path} was started from, or it was trained further:"
            " leave it out to go on, or choose another --run"
        )

"""A resumed run is the same run, to the bit."""

import itertools
import json
import shutil

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pieces import COMMON, VAE, interrupted_after, trainer_of

from comparing import assert_same_run
from vaegan.cli import main
from vaegan.errors import VaeganError
from vaegan.events import Note
from vaegan.training.train import train_gan, train_vae


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_any_split_into_interrupted_pieces_is_the_whole_run_to_the_bit(kind, prepared, vae_run, tmp_path):
    """Every file of the run: weights, optimizers, checkpoints that are kept, previews, metrics, config."""
    train = trainer_of(kind, prepared, vae_run)
    length = {"steps": 9, "checkpoint_every": 3, "sample_every": 4, "log_every": 2, "keep_checkpoints": 2}
    train(tmp_path / "whole", **length)

    attempts = itertools.count()

    @settings(max_examples=4, phases=[Phase.generate])
    @given(stops=st.sets(st.integers(1, 8), min_size=1, max_size=4))
    def check(stops):
        parts = tmp_path / str(next(attempts))
        for stop in sorted(stops):
            with interrupted_after(stop):
                train(parts, **length)
            assert (parts / "checkpoints" / f"step-{stop:07d}").is_dir()
        train(parts, **length)
        assert_same_run(tmp_path / "whole", parts)

    check()


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_a_run_made_longer_is_the_longer_run_to_the_bit(kind, prepared, vae_run, tmp_path):
    train = trainer_of(kind, prepared, vae_run)
    often = {"checkpoint_every": 2, "sample_every": 2, "evaluate_every": 2, "log_every": 1}
    train(tmp_path / "whole", steps=4, **often)
    train(tmp_path / "parts", steps=2, **often)
    train(tmp_path / "parts", steps=4)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_free_bits_clipping_and_decay_do_not_depend_on_the_runs_length(prepared, tmp_path):
    often = {"checkpoint_every": 2, "sample_every": 2, "log_every": 1, "evaluate_every": 0}
    options = {**VAE, **often, "free_bits": 0.1, "grad_clip": 100.0, "lr_decay_start": 16, "lr_warmup": 8}
    train_vae(prepared, tmp_path / "whole", steps=4, **options)
    train_vae(prepared, tmp_path / "parts", steps=2, **options)
    train_vae(prepared, tmp_path / "parts", steps=4)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_gan_resumes_without_its_vae(prepared, copy, vae_run, tmp_path):
    vae = copy(vae_run)
    options = {**COMMON, "evaluate_every": 1, "checkpoint_every": 1}
    train_gan(prepared, tmp_path / "gan", from_vae=vae, steps=2, **options)
    (vae / "model.safetensors").unlink()
    train_gan(None, tmp_path / "gan", steps=3)
    whole = train_gan(prepared, tmp_path / "whole", from_vae=vae_run, steps=3, **options)
    assert_same_run(tmp_path / "gan", whole)


def test_killed_before_the_first_checkpoint_a_gan_starts_from_its_vae_again(prepared, copy, vae_run, tmp_path):
    vae = copy(vae_run)
    options = {**COMMON, "steps": 3, "checkpoint_every": 3}
    train_gan(prepared, tmp_path / "gan", from_vae=vae, **options)

    def as_killed():
        shutil.rmtree(tmp_path / "gan" / "checkpoints")
        (tmp_path / "gan" / "model.safetensors").unlink()

    as_killed()
    train_gan(None, tmp_path / "gan")
    whole = train_gan(prepared, tmp_path / "whole", from_vae=vae, **options)
    assert_same_run(tmp_path / "gan", whole)
    as_killed()
    shutil.rmtree(vae)
    with pytest.raises(VaeganError, match="no checkpoint yet and its VAE is gone"):
        train_gan(None, tmp_path / "gan")


def files_of(run):
    return {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["vae", "gan"])
@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (["model.safetensors", "best.safetensors", "metrics.jsonl"], "holds model.safetensors, but no checkpoint"),
        (["best.safetensors"], "holds best.safetensors, but no checkpoint"),
        (["metrics.jsonl"], "holds metrics up to step 4, but no checkpoint"),
    ],
)
def test_training_without_its_checkpoints_is_never_replaced(kind, kept, words, prepared, vae_run, tmp_path, capsys):
    train, run = trainer_of(kind, prepared, vae_run), tmp_path / "run"
    train(run, steps=4, checkpoint_every=2, evaluate_every=4)
    shutil.rmtree(run / "checkpoints")
    for path in run.iterdir():
        if path.is_file() and path.name not in ("config.json", *kept):
            path.unlink()
    before = files_of(run)
    assert main([f"train-{kind}", str(prepared), "--run", str(run)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and "choose another --run, or add --force" in line
    assert ("--from-vae" in line) == (kind == "vae")
    assert files_of(run) == before
    train(run, steps=4, force=True)
    assert (run / "checkpoints").is_dir()


def test_weights_newer_than_the_checkpoint_are_kept_until_the_run_is_as_far_again(prepared, vae_run, tmp_path):
    train, run = trainer_of("vae", prepared, vae_run), tmp_path / "run"
    train(run, steps=4, checkpoint_every=2)
    newest = (run / "model.safetensors").read_bytes()
    shutil.rmtree(run / "checkpoints" / "step-0000004")
    told = []
    with interrupted_after(3):
        train(run, steps=4, on_event=told.append)
    kept = run / "model-step-0000004.safetensors"
    assert kept.read_bytes() == newest != (run / "model.safetensors").read_bytes()
    assert any(f"kept as {kept}" in getattr(event, "text", "") for event in told)
    train(run, steps=4)
    assert not kept.exists() and (run / "model.safetensors").read_bytes() == newest


def test_a_config_file_that_contradicts_the_run_is_refused(prepared, tmp_path):
    one = train_vae(prepared, tmp_path / "one", steps=1, beta=0.5, **VAE)
    other = train_vae(prepared, tmp_path / "other", steps=1, beta=2.0, **VAE)
    with pytest.raises(
        VaeganError, match=r"--beta 0.5 of .*one.config.json contradicts .*other, which was started with --beta 2.0"
    ):
        train_vae(prepared, other, config=one / "config.json")


def test_a_truncated_newest_checkpoint_costs_only_its_own_steps(prepared, vae_run, tmp_path):
    train = trainer_of("vae", prepared, vae_run)
    often = {"checkpoint_every": 1, "evaluate_every": 1}
    train(tmp_path / "whole", steps=4, **often)
    train(tmp_path / "parts", steps=3, **often)
    path = tmp_path / "parts" / "checkpoints" / "step-0000003" / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    told = []
    train(tmp_path / "parts", steps=4, on_event=told.append)
    assert any("step-0000003" in getattr(event, "text", "") for event in told)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_another_seed_is_another_run(prepared, vae_run, tmp_path):
    train = trainer_of("vae", prepared, vae_run)
    runs = [train(tmp_path / str(seed), steps=2, seed=seed) for seed in (0, 0, 1)]
    weights = [(run / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] != weights[2]


def steps_of(run):
    return json.loads((run / "config.json").read_text())["schedule"]["total_steps"]


def options_of(run):
    return json.loads((run / "config.json").read_text())["options"]


def test_a_purpose_sets_what_is_left_out(prepared, tmp_path):
    few = {**VAE, "steps": 2, "evaluate_every": 0}
    gan = train_vae(prepared, tmp_path / "gan", **few)
    faithful = train_vae(prepared, tmp_path / "faithful", objective="reconstruction", **few)
    said = [options_of(run) for run in (gan, faithful)]
    assert [(one["objective"], one["likelihood"]) for one in said] == [
        ("gan", "laplace"),
        ("reconstruction", "gaussian"),
    ]
    own = train_vae(prepared, tmp_path / "own", objective="reconstruction", likelihood="laplace", **few)
    assert options_of(own)["likelihood"] == "laplace"
    train_vae(prepared, faithful, steps=3, objective="reconstruction")
    assert options_of(faithful)["likelihood"] == "gaussian"
    with pytest.raises(VaeganError, match=r"--objective gan contradicts .* started with --objective reconstruction"):
        train_vae(prepared, faithful, objective="gan")
    again = train_vae(prepared, tmp_path / "again", config=gan / "config.json", objective="reconstruction")
    assert options_of(again)["likelihood"] == "gaussian"
    as_it_was = train_vae(prepared, tmp_path / "as", config=faithful / "config.json")
    assert options_of(as_it_was)["likelihood"] == "gaussian"


def test_a_typed_length_wins_over_a_config_files(prepared, tmp_path):
    few = {**VAE, "evaluate_every": 0}
    one = train_vae(prepared, tmp_path / "one", steps=2, **few)
    longer = train_vae(prepared, tmp_path / "longer", config=one / "config.json", images=24)
    assert steps_of(longer) == 3
    train_vae(prepared, longer, steps=4)  # a longer length of another kind, and the same again by its config
    assert steps_of(train_vae(prepared, tmp_path / "same", config=longer / "config.json")) == steps_of(longer) == 4
    train_vae(prepared, longer, steps=4)


def test_the_same_command_goes_on_whatever_a_config_file_says(prepared, tmp_path):
    few = {**VAE, "evaluate_every": 0}
    one = train_vae(prepared, tmp_path / "one", steps=1, **few)
    command = {"config": one / "config.json", "objective": "reconstruction"}
    train_vae(prepared, tmp_path / "two", **command)
    train_vae(prepared, tmp_path / "two", **command)
    assert options_of(tmp_path / "two")["likelihood"] == "gaussian"
    config = json.loads((one / "config.json").read_text())
    config["options"]["newfangled"] = 1
    (tmp_path / "newer.json").write_text(json.dumps(config))
    for run in ("two", "three"):
        with pytest.raises(VaeganError, match=r"--config .*newer.json: unknown option 'newfangled'"):
            train_vae(prepared, tmp_path / run, config=tmp_path / "newer.json")
    config["options"] |= {"latent_dim": 16}
    del config["options"]["newfangled"]
    (tmp_path / "wider.json").write_text(json.dumps(config))
    with pytest.raises(VaeganError, match=r"--latent-dim 16 of .*wider.json contradicts .*: leave --config out"):
        train_vae(prepared, tmp_path / "two", config=tmp_path / "wider.json")


def test_a_gan_from_a_vae_is_told_how_pictures_differ_one_from_scratch_is_not(prepared, vae_run, tmp_path):
    few = {"steps": 1, "batch_size": 8, "evaluate_every": 0, "preset": "tiny", "latent_dim": 8}
    for name, options, told in (
        ("gan", {"from_vae": vae_run}, True),
        ("hidden", {"from_vae": vae_run, "minibatch_std": False}, False),
        ("scratch", {}, False),
        ("shown", {"minibatch_std": True}, True),
    ):
        run = train_gan(prepared, tmp_path / name, **few, **options)
        assert options_of(run)["minibatch_std"] is told
        train_gan(prepared, run, steps=2)  # what it was is known again
        with pytest.raises(VaeganError, match="minibatch-std"):
            train_gan(prepared, run, minibatch_std=not told)


def test_a_gan_takes_its_shape_from_its_vae_not_from_a_config_file(prepared, vae_run, tmp_path):
    few = {"steps": 1, "batch_size": 8, "evaluate_every": 0}
    scratch = train_gan(prepared, tmp_path / "scratch", preset="small", latent_dim=16, gamma=3.0, **few)
    gan = train_gan(prepared, tmp_path / "gan", from_vae=vae_run, config=scratch / "config.json")
    said = options_of(gan)
    assert (said["preset"], said["latent_dim"], said["gamma"]) == ("tiny", 8, 3.0)


def test_a_config_file_whose_start_is_not_taken_is_noted(prepared, vae_run, gan_run, tmp_path):
    few = {"steps": 1, "batch_size": 8, "evaluate_every": 0}

    def notes(train, name, config, **options):
        events = []
        train(prepared, tmp_path / name, config=config, on_event=events.append, **few, **options)
        return [
            event.text for event in events if isinstance(event, Note) and "--config takes options only" in event.text
        ]

    (note,) = notes(train_gan, "one", gan_run / "config.json")
    assert (
        f"the run of {gan_run / 'config.json'} was started with --from-vae {vae_run / 'model.safetensors'}, and" in note
    )
    assert note.endswith(f"Add --from-vae {vae_run / 'model.safetensors'} to start as it did")
    copied = tmp_path / "copied.json"
    shutil.copy(gan_run / "config.json", copied)
    assert f"--from-vae {vae_run / 'model.safetensors'}" in notes(train_gan, "two", copied)[0]

    for name, options in (("vae", {"from_vae": vae_run}), ("gan", {"from_gan": gan_run})):
        assert not notes(train_gan, name, gan_run / "config.json", **options)
    assert not notes(train_gan, "three", tmp_path / "one" / "config.json")  # which was from scratch
    tuned = train_vae(prepared, tmp_path / "tuned", from_run=vae_run, **few)
    assert f"--from {vae_run / 'model.safetensors'}" in notes(train_vae, "four", tuned / "config.json")[0]
    assert not notes(train_gan, "one", gan_run / "config.json")  # is resumed


def test_config_file_reproduces_a_run(prepared, vae_run, tmp_path):
    one = train_vae(prepared, tmp_path / "one", steps=3, beta=0.5, seed=4, **VAE)
    other = train_vae(prepared, tmp_path / "other", config=one / "config.json")
    assert_same_run(one, other)

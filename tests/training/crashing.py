"""What test_crash.py starts: lives of a run that end badly, each in a fork, so that PyTorch is loaded once.

This process never computes, it only forks: `python crashing.py SCENARIO DATA OUT [...]`, results as JSON on stdout.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch._dynamo  # noqa: F401 - what a first step would load, loaded once for all lives
from pieces import collapsing

from comparing import assert_same_run
from vaegan.cli import main
from vaegan.events import FileWritten, Rollback
from vaegan.training.train import train_gan, train_vae

OPTIONS = {"batch_size": 8, "precision": "fp32", "device": "cpu", "log_every": 1, "sample_every": 1}
NOBODY = 65534


def train(data, vae, run, **more):
    """A VAE, or a GAN where a VAE is given; a checkpoint every step."""
    options = OPTIONS | {"checkpoint_every": 1} | more
    if vae is None:
        train_vae(data, run, preset="tiny", latent_dim=8, **options)
    else:
        train_gan(data, run, from_vae=vae, d_warmup_steps=2, gp_interval=2, **options)


def live(work):
    """Begin a life in a fork."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = work() or 0
        finally:
            os._exit(status)
    return pid


def end_of(pid):
    """How a life ended: its exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def well(work):
    assert end_of(live(work)) == 0


def killed_at_random(data, out, kills, vae=None):
    """Kill -9 at random instants; say how often, and how many steps the run then had."""
    random.seed(5)
    hit = 0
    while hit < kills:
        pid = live(lambda: train(data, vae, out / "parts", steps=99))
        time.sleep(random.uniform(0.01, 0.6))
        os.kill(pid, signal.SIGKILL)
        if end_of(pid) == 0:
            break
        hit += 1
        leave = 90 - newest(out / "parts")
        if leave < 0:  # come to its end before all kills: begin again, this life was whole
            shutil.rmtree(out / "parts")
    steps = newest(out / "parts") + 2
    well(lambda: train(data, vae, out / "parts", steps=steps))
    well(lambda: train(data, vae, out / "whole", steps=steps))
    assert_same_run(out / "whole", out / "parts")
    return {"kills": hit, "steps": steps}


def newest(run):
    return max((int(path.name[5:]) for path in run.glob("checkpoints/step-*")), default=0)


def killed_at_renames(data, out, start, every):
    """Kill before a life's first rename, before the second (or the next after `every`), and so on to the last.

    After each the run must end as if nothing had been.
    """
    well(lambda: train(data, None, out / "whole", steps=3))
    for number in range(1, 99, every):
        run = out / f"rename-{number}"
        if start is not None:
            shutil.copytree(start, run)

        def dying(number=number, run=run):
            counted, replace = [], Path.replace

            def dies(path, target):
                counted.append(path)
                if len(counted) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return replace(path, target)

            Path.replace = dies
            train(data, None, run, steps=3)

        status = end_of(live(dying))
        if status == 0:
            return {"beyond the last": number}
        assert status == -signal.SIGKILL
        well(lambda run=run: train(data, None, run, steps=3))
        assert_same_run(out / "whole", run)
        shutil.rmtree(run)
    raise AssertionError("a run of three steps has that many renames?")


def killed_going_back(data, out, numbers):
    """Kill a GAN that goes back from a collapse before what it then does on the disk: each of `numbers`, from 1 on.

    It scores best at step 2 and collapses at step 5; checkpoints of steps 3 and 4 are in the way of going back.
    """
    plan = {"steps": 6, "evaluate_every": 1, "keep_checkpoints": 9, "preset": "tiny", "latent_dim": 8}

    def run(place, on_event=lambda event: None):
        with collapsing(5, 0.5):
            train_gan(data, place, checkpoint_every=1, on_event=on_event, **OPTIONS, **plan)

    well(lambda: run(out / "whole"))
    for number in numbers:

        def dying(number=number):
            counted = []

            def dies(act):
                def acts(*of, **how):
                    counted.append(act)
                    if len(counted) == number:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return act(*of, **how)

                return acts

            def goes_back(event):
                if isinstance(event, Rollback):
                    Path.replace, shutil.rmtree, Path.unlink = map(dies, (Path.replace, shutil.rmtree, Path.unlink))

            run(out / "parts", goes_back)

        status = end_of(live(dying))
        if status == 0:
            return {"beyond the last": number}
        assert status == -signal.SIGKILL
        well(lambda: run(out / "parts"))
        assert_same_run(out / "whole", out / "parts")
        shutil.rmtree(out / "parts")
    return {"kills": len(numbers)}


def damaged_newest(data, out):
    """A run of two steps whose newest checkpoint is cut short: going on replaces a directory, with two renames."""
    well(lambda: train(data, None, out, steps=2))
    path = out / "checkpoints" / "step-0000002" / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    return out


def said(out, arguments, before=lambda: None):
    """Exit status and last line on stderr of a command line in a fork."""

    def work():
        with (out / "stderr").open("w") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
            before()
            return main([str(argument) for argument in arguments])

    status = end_of(live(work))
    return {"status": status, "line": (out / "stderr").read_text().splitlines()[-1]}


def full_disk(data, out):
    """A refusal by the system: no file may grow past a limit when the second checkpoint is written."""
    well(lambda: train(data, None, out / "parts", steps=2, checkpoint_every=2))
    arguments = ["train-vae", data, "--run", out / "parts", "--steps", "4"]
    found = said(out, arguments, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)))
    found["left"] = sorted(path.name for path in (out / "parts" / "checkpoints").iterdir())
    well(lambda: train(data, None, out / "parts", steps=4, checkpoint_every=2))
    well(lambda: train(data, None, out / "whole", steps=4, checkpoint_every=2))
    found["same"] = (out / "parts/model.safetensors").read_bytes() == (out / "whole/model.safetensors").read_bytes()
    return found


def read_only(data, out):
    """The directory is made read-only while the run goes on; root becomes a user to whom that means something.

    It does so as late as that, since such a user may not be able to read what is still to be imported.
    """
    run, text = out / "parts", out / "said"

    def closing(event):
        if isinstance(event, FileWritten) and (event.kind, event.step) == ("checkpoint", 2):
            for path in run.rglob("*"):
                path.chmod(0o777 if path.is_dir() else 0o666)
            for path in (run / "checkpoints", run):
                path.chmod(0o555)
            if os.geteuid() == 0:
                os.setegid(NOBODY)
                os.seteuid(NOBODY)

    def work():
        out.chmod(0o777)
        try:
            train(data, None, run, steps=4, on_event=closing)
        except Exception as error:
            text.write_text(str(error))
            return 3
        return 0

    status = end_of(live(work))
    for path in [run, *run.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    well(lambda: train(data, None, run, steps=4))
    well(lambda: train(data, None, out / "whole", steps=4))
    assert_same_run(out / "whole", run)
    return {"status": status, "line": text.read_text(), "left": left}


if __name__ == "__main__":
    scenario, data, out, *more = sys.argv[1:]
    data, out = Path(data).resolve(), Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for extra in ("random", "renames", "replacing", "full", "collapse"):
        (out / extra).mkdir(exist_ok=True)
    results = {}
    if scenario == "renames":
        results["renames"] = killed_at_renames(data, out / "renames", None, 1)
        results["replacing"] = killed_at_renames(data, out / "replacing", damaged_newest(data, out / "damaged"), 1)
    elif scenario == "random":
        vae = Path(more[1]).resolve() if len(more) > 1 else None
        results["random"] = killed_at_random(data, out / "random", int(more[0]), vae)
    elif scenario == "collapse":
        results["collapse"] = killed_going_back(data, out / "collapse", range(1, 199))
    else:
        results["collapse"] = killed_going_back(data, out / "collapse", range(1, 40, 6))
        results["random"] = killed_at_random(data, out / "random", 10)
        results["renames"] = killed_at_renames(data, out / "renames", None, 4)
        results["replacing"] = killed_at_renames(data, out / "replacing", damaged_newest(data, out / "damaged"), 3)
        results["full"] = full_disk(data, out / "full")
        with tempfile.TemporaryDirectory() as place:  # one that everybody can reach
            results["readonly"] = read_only(data, Path(place))
    print(json.dumps(results))

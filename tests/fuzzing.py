"""A small project with every kind of file that commands read, ways to damage each, and the commands that read it."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import struct
import tarfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from vaegan.cli import main
from vaegan.utils.files import file_sha256

CPU_SECONDS, WALL_SECONDS = 20, 1200
MAX_BYTES = 3 * 2**29
NASTY_NUMBERS = [-1, 0, 1, 3, 4097, 10**6, 10**12, 10**30, 10**400, -(10**18), 2.5, 1e308, float("nan"), float("inf")]
NASTY_STRINGS = ["", "x", "7", "vae", "/etc/passwd", "../../..", "a\nb", "\x1b[31m", "\ud800", "\0", "y" * 100_000]
NASTY_CONTAINERS = [[], [[]], [1, 2], {}, {"a": {"b": []}}, [0] * 5000]
NASTY = [None, True, False, *NASTY_NUMBERS, *NASTY_STRINGS, *NASTY_CONTAINERS]
NASTY_VALUES = [float("nan"), float("inf"), -float("inf"), 3e38, 1e18, -1e9, 0.0]

STEP = "checkpoints/step-0000002"
RESUME_VAE = ["train-vae", "--run", "vae", "--steps", "3", "--device", "cpu"]
RESUME_GAN = ["train-gan", "--run", "gan", "--steps", "3", "--device", "cpu"]
NEW_VAE = [
    *("train-vae", "set", "--run", "new", "--steps", "1", "--preset", "tiny", "--latent-dim", "8"),
    *("--batch-size", "4", "--precision", "fp32", "--device", "cpu"),
]
NEW_GAN = ["train-gan", "--from-vae", "vae", "--run", "new", "--steps", "1", "--batch-size", "4", "--device", "cpu"]
FROM_VAE = ["train-vae", "set", "--from", "vae", *NEW_VAE[2:6], *NEW_VAE[10:]]
FROM_GAN = ["train-gan", "set", "--from-gan", "gan", *NEW_GAN[3:]]
SAMPLE = ["sample", "-n", "1", "--device", "cpu"]
EVALUATE = ["evaluate", "vae", "-n", "16", "--device", "cpu"]
COMPARE = ["compare", "vae", "gan", "-n", "16", "--device", "cpu"]
INTERPOLATE = ["interpolate", "vae", "--frames", "2", "--scale", "1", "--device", "cpu"]
COMMANDS = {
    "vae/model.safetensors": [
        ["info", "vae"],
        [*SAMPLE, "vae"],
        ["encode", "vae", "face.png"],
        NEW_GAN,
        RESUME_VAE,
        FROM_VAE,
    ],
    "gan/model.safetensors": [
        ["info", "gan"],
        [*SAMPLE, "gan"],
        ["reconstruct", "gan", "face.png"],
        RESUME_GAN,
        FROM_GAN,
    ],
    "gan/best.safetensors": [[*SAMPLE, "gan", "--best"], RESUME_GAN],
    "vae/config.json": [
        ["info", "vae"],
        [*SAMPLE, "vae"],
        ["report", "vae"],
        ["timelapse", "vae"],
        RESUME_VAE,
        NEW_GAN,
    ],
    "gan/config.json": [["info", "gan"], [*SAMPLE, "gan"], ["report", "gan"], ["timelapse", "gan"], RESUME_GAN],
    "vae/metrics.jsonl": [["info", "vae"], ["report", "vae"], RESUME_VAE],
    "gan/metrics.jsonl": [["info", "gan"], ["report", "gan"], RESUME_GAN, COMPARE],
    f"vae/{STEP}/state.json": [["info", "vae"], RESUME_VAE],
    f"gan/{STEP}/state.json": [RESUME_GAN, FROM_GAN],
    f"vae/{STEP}/training.safetensors": [RESUME_VAE],
    f"gan/{STEP}/training.safetensors": [RESUME_GAN, FROM_GAN],
    f"gan/{STEP}/model.safetensors": [[*SAMPLE, f"gan/{STEP}"], RESUME_GAN],
    "vae/previews/step-0000000.png": [["timelapse", "vae"], ["report", "vae"]],
    "gan/previews/drift-0000000.png": [["report", "gan"]],
    "vae/report.html": [["report", "vae"], RESUME_VAE],
    "vae/run.lock.json": [RESUME_VAE],
    "set/set.json": [
        ["info", "set"],
        NEW_VAE,
        ["encode", "vae", "set"],
        EVALUATE,
        ["preprocess", "faces", "-o", "set"],
    ],
    "hub/config.json": [["info", "hub"], [*SAMPLE, "hub"], ["export", "hub", "--hub", "hub"]],
    "hub/README.md": [["export", "hub", "--hub", "hub"]],
    "set/manifest.jsonl": [["encode", "vae", "set"], ["preprocess", "faces", "-o", "set"]],
    "set/images-00000.safetensors": [NEW_VAE, ["encode", "vae", "set"], EVALUATE, ["info", "vae", "--outliers"]],
    "set/features.safetensors": [EVALUATE],
    "latents.safetensors": [
        ["info", "latents.safetensors"],
        ["decode", "vae", "latents.safetensors"],
        [*INTERPOLATE, "--latents", "latents.safetensors"],
    ],
    "faces.zip": [["preprocess", "faces.zip", "--dry-run"], ["encode", "vae", "faces.zip"]],
    "faces.tar.gz": [["preprocess", "faces.tar.gz", "--dry-run"]],
    "face.png": [["encode", "vae", "face.png"], ["reconstruct", "vae", "face.png"]],
}
"""The commands that read each file; options that make them quick are included."""


def run(command):
    """Run a command line quietly and return its exit code and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(command))
    return code, err.getvalue()


def make_project(path, faces, prepared):
    """Write the project to `path`."""
    path.mkdir()
    shutil.copytree(prepared, path / "set")
    images = sorted(faces.glob("*.png"))
    (path / "faces").mkdir()
    for image in images:
        shutil.copy(image, path / "faces")
    shutil.copy(images[0], path / "face.png")
    with zipfile.ZipFile(path / "faces.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for image in images[:4]:
            archive.write(image, image.name)
    with tarfile.open(path / "faces.tar.gz", "w:gz") as archive:
        for image in images[:4]:
            archive.add(image, image.name)
    with contextlib.chdir(path):
        often = ["--checkpoint-every", "2", "--sample-every", "1", "--evaluate-every", "2", "--log-every", "1", "-q"]
        for command in (
            [*NEW_VAE, "--run", "vae", "--steps", "2", *often],
            [*NEW_GAN, "--run", "gan", "--steps", "2", *often],
            ["encode", "vae", "faces/face-00000.png", "faces/face-00001.png", "-o", "latents.safetensors", "-q"],
            [*EVALUATE, "-q"],
            ["export", "vae", "--hub", "hub", "-q"],
        ):
            code, err = run(command)
            assert code == 0, err
        shutil.rmtree("evaluations")
        Path("vae/run.lock.json").write_text(json.dumps({"pid": 2**22 + 1, "host": os.uname().nodename}))


def damage_json(value, rng):
    """Replace, remove or add one entry somewhere in a JSON value."""
    value = json.loads(json.dumps(value))
    parent = value
    while isinstance(parent, (dict, list)) and parent:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = rng.choice(keys)
        if isinstance(parent[key], (dict, list)) and parent[key] and rng.random() < 0.7:
            parent = parent[key]
            continue
        action = rng.random()
        if action < 0.8:
            parent[key] = rng.choice(NASTY)
        elif action < 0.9:
            del parent[key]
        elif isinstance(parent, dict):
            parent[rng.choice(["new", "size", "__metadata__", "x" * 300])] = rng.choice(NASTY)
        break
    return value


def damage_bytes(content, rng):
    """Flip bits, truncate, append, empty, or overwrite a piece."""
    content, action = bytearray(content), rng.randrange(5)
    if not content:
        return b"x"
    if action == 0:
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(min(len(content), rng.choice([64, 4096, 10**9])))] ^= 1 << rng.randrange(8)
    elif action == 1:
        del content[rng.randrange(len(content)) :]
    elif action == 2:
        content += rng.randbytes(rng.choice([1, 8, 5000]))
    elif action == 3:
        content.clear()
    else:
        start = rng.randrange(len(content))
        content[start : start + 40] = rng.randbytes(40)
    return bytes(content)


def damage_header(content, rng):
    """Change the header of a safetensors file: its length, its tensors or its metadata."""
    (length,) = struct.unpack("<Q", content[:8])
    if rng.random() < 0.15:
        huge = rng.choice([0, 1, length - 1, length + 1, 10**6, 2**31, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", huge) + content[8:]
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    if "vaegan" in metadata and metadata["vaegan"].startswith("{") and rng.random() < 0.5:
        metadata["vaegan"] = json.dumps(damage_json(json.loads(metadata["vaegan"]), rng))
    elif rng.random() < 0.3:
        name = rng.choice([name for name in header if name != "__metadata__"])
        header[name]["dtype"] = rng.choice(["F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "F4", "C64", "Q7", ""])
    else:
        header = damage_json(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def damage_values(path, rng):
    """Write other numbers, or another shape, into one tensor of a safetensors file that stays valid."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    if rng.random() < 0.15:
        tensors[name] = rng.choice([tensor[:0], tensor[None], tensor.flatten()[:1]]) if tensor.dim() else tensor[None]
    elif tensor.is_floating_point():
        tensor.view(-1)[: rng.choice([1, tensor.numel()])] = rng.choice(NASTY_VALUES)
    else:
        tensor.fill_(rng.choice([0, 1, 2, 255]) if tensor.dtype == torch.uint8 else rng.choice([-1, 0, 10**15]))
    save_file(tensors, path, metadata)


def restore_checksums(checkpoint):
    """Let state.json agree with the damaged files of a checkpoint, as a hostile one would."""
    path = checkpoint / "state.json"
    state = json.loads(path.read_text())
    state["sha256"] = {name: file_sha256(checkpoint / name) for name in state["sha256"]}
    path.write_text(json.dumps(state))


def damage(path, rng):
    """Damage a file in one of many ways."""
    content = path.read_bytes()
    is_json = path.suffix in (".json", ".jsonl")
    if path.suffix == ".safetensors" and rng.random() < 0.5:
        damage_values(path, rng)
    elif path.suffix == ".safetensors" and rng.random() < 0.6:
        path.write_bytes(damage_header(content, rng))
    elif is_json and rng.random() < 0.8:
        lines = (
            [json.loads(line) for line in content.splitlines()] if path.suffix == ".jsonl" else [json.loads(content)]
        )
        row = rng.randrange(len(lines))
        lines[row] = damage_json(lines[row], rng) if rng.random() < 0.9 else rng.choice(NASTY)
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    elif is_json and rng.random() < 0.2:
        path.write_text('{"a":' * 100_000)
    else:
        path.write_bytes(damage_bytes(content, rng))
    if path.parent.name.startswith("step-") and path.name != "state.json" and rng.random() < 0.8:
        restore_checksums(path.parent)


class OverLimit(BaseException):
    """A command took too long; not an Exception, so that no handler of vaegan's catches it."""


@contextlib.contextmanager
def limits():
    """Fail instead of hanging or being killed: bound CPU seconds, wall seconds and additional memory."""
    import resource  # POSIX only, as the signals below

    def fail(number, frame):
        raise OverLimit(f"more than {CPU_SECONDS} seconds of CPU time or {WALL_SECONDS} seconds")

    numbers = (signal.SIGPROF, signal.SIGALRM)
    previous = [signal.signal(number, fail) for number in numbers]
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_BYTES, hard))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def check(command):
    """Run a command on damaged files. It must work or end in one clear line, within the limits."""
    with limits():
        code, err = run(command)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code in (0, 1, 2), (command, code, err[-2000:])
    assert len(errors) == (code != 0), (command, err[-2000:])
    assert "a bug in vaegan" not in err and "out of memory" not in err, (command, err[-2000:])
    assert all(line.isprintable() and len(line) < 2000 for line in errors), (command, errors)
    return code


def check_damaged(project, folder, seed):
    """Damage one file of a copy of the project, and use it by one command that reads it; return the exit code."""
    rng = random.Random(seed)
    name = rng.choice(sorted(COMMANDS))
    command = rng.choice(COMMANDS[name])
    case = folder / f"case-{seed}"
    shutil.copytree(project, case)
    try:
        damage(case / name, rng)
        with contextlib.chdir(case):
            return check(command)
    except BaseException as error:
        error.add_note(f"seed {seed}: {name}, {' '.join(command)}")
        raise
    finally:
        shutil.rmtree(case, ignore_errors=True)

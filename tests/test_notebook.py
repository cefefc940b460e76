"""The notebook runs from top to bottom, and shows images."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not NOTEBOOK.is_file(), reason="no source tree")]


def test_the_notebook_runs_and_shows_images(tmp_path):
    pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    source = tmp_path / "notebook.ipynb"
    source.write_bytes(NOTEBOOK.read_bytes())
    command = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", "executed.ipynb", str(source)]
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, timeout=900)
    cells = [cell for cell in json.loads((tmp_path / "executed.ipynb").read_text())["cells"] if "outputs" in cell]
    outputs = [output for cell in cells for output in cell["outputs"]]
    images = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(images) == 3 and all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
    printed = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert "400 images: " in printed and "PSNR, dB" in printed and "KID x1000" in printed
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert "Variety: " in str(cells[-1]["outputs"])


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)

"""Notebooks run from top to bottom, and hold the outputs of a full run without its noise.

``python tests/python/test_notebooks.py`` runs them at full size and writes those outputs.
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image, ImageSequence

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

WIDGET = "application/vnd.jupyter.widget-view+json"
GIF = "data:image/gif;base64,"


def execute(path: Path, folder: str | Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder of its own, and return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, resources=resources).execute()
    return notebook


def without_noise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep what cells return and show: no progress bars, no times, no state of widgets."""
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            shown = (o for o in cell.outputs if o.output_type in ("display_data", "execute_result"))
            cell.outputs = [o for o in shown if WIDGET not in o.data]
            for output in cell.outputs:
                if "image/png" in output.data:
                    output.data["image/png"] = smaller(output.data["image/png"])
                if GIF in output.data.get("text/html", ""):
                    before, _, rest = output.data["text/html"].partition(GIF)
                    gif, quote, after = rest.partition('"')
                    output.data["text/html"] = before + GIF + smaller(gif) + quote + after
    return notebook


def smaller(picture: str) -> str:
    """Bring a PNG or a GIF, in base64, to one palette of few colours."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
        options = {"format": image.format, "optimize": True}
        if len(frames) > 1:
            options |= {"save_all": True, "loop": 0, "duration": image.info["duration"]}
    movie = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames]))
    palette = movie.quantize(32 if len(frames) > 1 else 64)
    first, *rest = (frame.quantize(palette=palette, dither=0) for frame in frames)
    written = io.BytesIO()
    first.save(written, append_images=rest, **options)
    return base64.b64encode(written.getvalue()).decode()


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.setenv("BACKCAST_UPDATES", "20")
    notebook = execute(path, tmp_path)
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] != []


def test_committed_outputs_are_whole_small_and_without_noise(path):
    assert path.stat().st_size < 350_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"execute_result", "display_data"}
    assert sum("image/png" in output.data for output in outputs) >= 2
    assert "widgets" not in notebook.metadata


if __name__ == "__main__":
    os.environ.pop("BACKCAST_UPDATES", None)
    for name in sys.argv[1:] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as empty:
            nbformat.write(without_noise(execute(Path(name), empty)), name)

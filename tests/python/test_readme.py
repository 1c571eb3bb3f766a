"""What the README prints runs as printed."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BENCHES = ROOT / "tests" / "benches"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def write_sensors(path):
    """Two sensors that swing, one of which stands still for half a minute."""
    t = np.arange(4000)
    noise = np.random.default_rng(0).normal(scale=0.05, size=(2, len(t)))
    a, b = np.sin(t / 8) + noise[0], np.cos(t / 13) + noise[1]
    a[3500:3530] = a[3500]
    time = pd.date_range("2026-01-01", periods=len(t), freq="s")
    pd.DataFrame({"time": time, "a": a, "b": b}).to_csv(path, index=False)


def test_readme_examples_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sensors("sensors.csv")
    *examples, of_a_group = blocks("python")
    assert len(examples) == 4
    assert 'group="world"' in of_a_group  # test_group.py trains by several processes
    names = {}
    for example in examples:
        exec(compile(example, README.name, "exec"), names)
    worst = names["events"].sort_values("score").iloc[-1]
    assert worst["columns"][0] == "a"
    assert abs((worst["peak"] - pd.Timestamp("2026-01-01 00:58:35")).total_seconds()) < 30
    assert list(names["forecast"].index) == list(names["new"]["time"][:20])
    assert len(names["embeddings"]) == len(names["cut"])
    assert (names["embeddings"].index == names["cut"].past.index).all()
    assert len(names["joined"]) == len(names["cut"])
    for picture in ("events.png", "forecast.png", "map.png", "film.gif"):
        assert (tmp_path / picture).stat().st_size > 10_000


@pytest.mark.parametrize("page", [README, ROOT / "CONTRIBUTING.md", BENCHES / "README.md"])
def test_links_lead_to_existing_files(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
    assert local or page != README


def test_the_tables_of_measurements_are_those_of_the_results():
    command = [sys.executable, BENCHES / "tables.py", "--check"]
    subprocess.run(command, check=True)
    assert "<!-- bench" not in README.read_text()
    tables = re.findall(r"<!-- bench (\w+) -->", (BENCHES / "README.md").read_text())
    assert {"training", "inference", "memory", "feeding", "anomalies"} <= set(tables)

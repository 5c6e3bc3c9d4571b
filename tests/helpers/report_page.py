"""The report page of an experiment whose numbers are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from experiment import Experiment
from PIL import Image
from recorded import save_array

from hybridflow.report.page.page import write_page
from hybridflow.report.tables.frontier import frontier_table
from hybridflow.report.tables.table import read_csv, write_table

PROVENANCE = {
    "revision": "a" * 40,
    "software": {"system": "Linux", "python": "3.11.2", "packages": {"torch": "2.14.1", "numpy": "2.0"}},
    "hardware": {"cpu": "A CPU", "cpus_usable": 2, "gpus": []},
    "seeds": {"training": [0]},
}
DETAILS = "# Details\n\n## Costs of training\n\n| Variant | h:mm:ss |\n| :-- | --: |\n| baseline | 0:00:10 |\n"


def build(experiment: Experiment, folder: Path, *figures: tuple[Path, str]) -> Path:
    """Writes the page and its tables into ``folder``, with these figures and one more; returns the page's path."""
    rng = np.random.default_rng(0)
    for name, seed in experiment.settings.models:
        samples = Path(experiment.files(name, seed).samples)
        if not samples.exists():
            save_array(samples, rng.integers(0, 256, (70, 3, 32, 32), dtype=np.uint8))
    results = experiment.read()
    tables = [folder / f"table1.{kind}" for kind in ("csv", "md", "tex")]
    write_table(*tables, results)
    Image.fromarray(rng.integers(0, 256, (900, 2000, 3), dtype=np.uint8)).save(folder / "figure.png")
    frontier = frontier_table(read_csv(tables[0]), experiment.settings)
    page = folder / "report.html"
    shown = [(folder / "figure.png", "Noise <b> & more"), *figures]
    write_page(page, results, frontier, shown, DETAILS, PROVENANCE)
    return page

"""The report page: everything in one file, and what a browser makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, look_at
from experiment import Experiment
from PIL import Image
from report_page import build

from hybridflow.config.extractors import INCEPTION_SHA256
from hybridflow.report.figures.animation import animate_training
from hybridflow.report.page.images import ENOUGH, embed_file
from hybridflow.runtime.errors import UserError


def test_the_page_needs_nothing_else(experiment: Experiment, tmp_path: Path) -> None:
    text = build(experiment, tmp_path).read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in text
    assert "url(" not in text
    assert "crosses" not in text, "nobody reports FD-CIFAR"
    assert len(text) < 6e6
    for part in (
        "Experiment micro",
        "This is a small run",
        "3 variants of generative models (denseflow)",
        "torch 2.14.1",
    ):
        assert part in text
    assert 'alt="Noise &lt;b&gt; &amp; more"' in text
    assert "<h2>Costs of training</h2>" in text
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_without_points_the_page_says_so(make_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    text = build(make_experiment(evaluation={"metrics": []}), tmp_path).read_text(encoding="utf-8")
    assert "No variant has both bits/dim" in text


def test_what_others_report_is_a_cross(make_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    experiment = make_experiment(evaluation={"metrics": ["fid"]})
    for name, seed in experiment.settings.models:
        experiment.change("fidelity", name, seed, weights_sha256={"inception": INCEPTION_SHA256})
    text = build(experiment, tmp_path).read_text(encoding="utf-8")
    crosses = re.findall(r'd="M([\d.]+),([\d.]+)m\S+" stroke="#\w+" role="img" aria-label="([^"]+)"', text)
    assert [label for *_, label in crosses] == [
        "baseline as others report it: BPD 3.05, FID 44",
        "dcgan-0.5 as others report it: BPD 3.35, FID 41.5",
    ]
    assert all(50 <= float(x) <= 390 and 10 <= float(y) <= 255 for x, y, _ in crosses), "inside the panel"
    assert "crosses are what others report" in text


def test_damaged_samples_are_not_shown(experiment: Experiment, tmp_path: Path) -> None:
    build(experiment, tmp_path)
    samples = Path(experiment.files("control").samples)
    samples.write_bytes(samples.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"control/seed0/samples\.npy is damaged or was exchanged"):
        build(experiment, tmp_path)


def test_an_animation_that_shows_nothing_is_left_out(experiment: Experiment, tmp_path: Path) -> None:
    animate_training(tmp_path / "still.gif", [("a", [])])
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    figures = [(tmp_path / f"{name}.gif", f"A {name} one") for name in ("still", "moving")]
    text = build(experiment, tmp_path, *figures).read_text(encoding="utf-8")
    assert "A moving one" in text
    assert "A still one" not in text


def test_large_pictures_shrink_and_small_ones_stay(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 2000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    Image.fromarray(noise[:20, :20]).save(tmp_path / "small.png")
    large, small = embed_file(tmp_path / "large.png"), embed_file(tmp_path / "small.png")
    assert (tmp_path / "large.png").stat().st_size > ENOUGH
    assert (large.width, large.height) == (1400, 630)
    assert large.source.startswith("data:image/jpeg;base64,")
    assert (small.width, small.source[:22]) == (20, "data:image/png;base64,")


# A page around the page: it looks at it on a screen of 390 pixels, sorts, and chooses a point.
LOOK = """<!DOCTYPE html><html><body><iframe width="390" height="800" src="report.html"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", async () => {
  const page = frame.contentDocument, wait = () => new Promise((done) => setTimeout(done, 300));
  for (const image of page.images) { image.loading = "eager"; await image.decode(); }
  const rows = () => [...page.querySelectorAll("table.sortable tbody tr")];
  const column = (place) => rows().map((row) => row.cells[place].textContent);
  const buttons = page.querySelectorAll("table.sortable th button"), found = {};
  found.width = page.scrollingElement.scrollWidth;
  found.pictures = [...page.images].map((image) => image.naturalWidth);
  found.headings = [...buttons].map((button) => button.textContent);
  buttons[3].click(); buttons[3].click();
  found.falling = column(3);
  found.sort = buttons[3].closest("th").getAttribute("aria-sort");
  buttons[0].click();
  found.names = column(0);
  const point = page.querySelector('.point[data-variant="dcgan-0.5"]');
  point.dispatchEvent(new MouseEvent("click"));
  await wait();
  found.chosen = page.querySelector("#chosen figcaption").textContent;
  found.samples = page.querySelector("#chosen img").naturalWidth;
  fetch("found", {method: "POST", body: JSON.stringify(found)});
});
</script></body></html>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (on Debian: apt install chromium)")
def test_a_browser_on_a_small_screen(experiment: Experiment, tmp_path: Path) -> None:
    build(experiment, tmp_path)
    (tmp_path / "look.html").write_text(LOOK, encoding="utf-8")
    found, console = look_at(tmp_path, "look.html")
    assert console == []
    assert found["width"] <= 390
    assert len(found["pictures"]) == 1
    assert all(width > 0 for width in found["pictures"])
    assert found["headings"][3] == "BPD\u00a0↓"
    values = [float(cell.split(" ")[0]) for cell in found["falling"]]
    assert values == sorted(values, reverse=True)
    assert found["sort"] == "descending"
    assert found["names"] == ["baseline", "control", "dcgan-0.5"]
    assert found["chosen"].startswith("64 samples of dcgan-0.5: BPD 4.")
    assert found["samples"] == 256

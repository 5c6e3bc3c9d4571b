"""Contrast of the report page's text with what is behind it (WCAG 2.2, 1.4.3), in both colour schemes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import CHROMIUM, look_at
from experiment import Experiment
from report_page import build

SCHEMES = {"light": "--blink-settings=preferredColorScheme=1", "dark": "--blink-settings=preferredColorScheme=0"}
# A page around the page: every text of both as [words, contrast, whether it is large].
LOOK = """<!DOCTYPE html><html><body>
<p style="color: #777; background: #fff">grey</p>
<div style="background: #000"><h1 style="opacity: 0.5; color: #fff">half</h1></div>
<iframe width="390" height="800" src="report.html"></iframe>
<script>
const numbers = (color) => [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
const over = ([r, g, b, alpha], back) => [r, g, b].map((value, i) => alpha * value + (1 - alpha) * back[i]);
const linear = (value) => value <= 0.04045 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
function contrast(element) {
  const style = getComputedStyle(element), color = numbers(element.ownerSVGElement ? style.fill : style.color);
  let back = [255, 255, 255];
  const ancestors = [];
  for (let one = element; one; one = one.parentElement) ancestors.unshift(one);
  for (const one of ancestors) {
    back = over(numbers(getComputedStyle(one).backgroundColor), back);
    color[3] *= Number(getComputedStyle(one).opacity);
  }
  const [low, high] = [over(color, back), back].map(luminance).sort((a, b) => a - b);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  return [(high + 0.05) / (low + 0.05), large];
}
function texts(page) {
  const found = [], walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (words && element.getClientRects().length) found.push([words, ...contrast(element)]);
  }
  return found;
}
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  for (const closed of page.querySelectorAll("details")) closed.open = true;
  page.querySelector(".point").dispatchEvent(new MouseEvent("click"));
  const dark = frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches;
  const found = {dark, known: texts(document), page: texts(page)};
  fetch("found", {method: "POST", body: JSON.stringify(found)});
});
</script></body></html>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (on Debian: apt install chromium)")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_can_be_read(make_experiment: Callable[..., Experiment], tmp_path: Path, scheme: str) -> None:
    build(make_experiment(), tmp_path)
    (tmp_path / "look.html").write_text(LOOK, encoding="utf-8")
    found, _ = look_at(tmp_path, "look.html", [SCHEMES[scheme]])
    assert found["dark"] == (scheme == "dark")
    assert found["known"][:2] == [
        ["grey", pytest.approx(4.48, abs=0.01), False],
        ["half", pytest.approx(5.28, abs=0.01), True],
    ]
    words = [text for text, _, _ in found["page"]]
    for part in ("Experiment micro", "BPD\u00a0↓", "baseline", "Costs of training", "FD-CIFAR ↓"):
        assert part in words
    assert any(text.startswith("64 samples of") for text in words)
    pale = {text: round(ratio, 2) for text, ratio, large in found["page"] if ratio < (3 if large else 4.5)}
    assert not pale

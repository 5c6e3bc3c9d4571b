"use strict";
// A click on a heading sorts the table by its column; a second one turns the order round.
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    const column = [...heading.parentNode.children].indexOf(heading);
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === ""); // what is missing comes last
      const [x, y] = [Number(value(a)), Number(value(b))];
      const order = Number.isNaN(x) || Number.isNaN(y) ? value(a).localeCompare(value(b)) : x - y;
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
// A point of the trade-off shows the samples of its variant.
const grids = JSON.parse(document.getElementById("grids").textContent);
const chosen = document.getElementById("chosen");
function show(point) {
  for (const other of document.querySelectorAll(".point")) {
    other.classList.toggle("chosen", other.dataset.variant === point.dataset.variant);
  }
  const image = document.createElement("img"), text = document.createElement("figcaption");
  image.src = grids[point.dataset.variant];
  image.alt = `64 samples of ${point.dataset.variant}`;
  text.textContent = `64 samples of ${point.getAttribute("aria-label")}`;
  chosen.replaceChildren(image, text);
}
for (const point of document.querySelectorAll(".point")) {
  point.addEventListener("click", () => show(point));
  point.addEventListener("focus", () => show(point));
  point.addEventListener("mouseenter", () => show(point));
}

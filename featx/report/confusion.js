"use strict";
// A count of a confusion matrix opens the items that it counts; arrow keys move between counts.
{
  const MOST = 60;
  const dialog = document.getElementById("counted");
  const heading = dialog.querySelector("h3");
  const words = dialog.querySelector("p");
  const list = dialog.querySelector("ul");

  function open(button) {
    const { label, guess, times } = button.dataset;
    const found = items.ids.flatMap((_, at) =>
      items.labels[at] === +label && items.guesses[at] === +guess ? [at] : []);
    found.sort((one, other) => items.sure[other] - items.sure[one]);
    heading.textContent = button.getAttribute("aria-label");
    const shown = found.slice(0, MOST);
    words.textContent = shown.length < +times
      ? `${shown.length} of ${times} items, the surest first` : "The surest first";
    list.replaceChildren(...shown.map(at => card("li", at)));
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  document.addEventListener("pointerover", event => {
    const button = event.target.closest("button.count");
    if (button) button.title = button.getAttribute("aria-label");
  });

  document.addEventListener("click", event => {
    const button = event.target.closest("button.count");
    if (button) open(button);
    // A click on the dialog itself is one beside its content.
    if (event.target === dialog || event.target.closest("#counted .close")) dialog.close();
  });

  const steps = {
    ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
  };

  /** Return the next count from a place in a direction, past empty cells. */
  function next(table, row, column, [down, right]) {
    for (;;) {
      row += down;
      column += right;
      const cell = table.rows[row]?.cells[column];
      if (!cell) return null;
      const button = cell.querySelector("button.count");
      if (button) return button;
    }
  }

  const matrix = document.querySelector("table.matrix");
  matrix?.addEventListener("keydown", event => {
    const cell = event.target.closest("td");
    if (!cell || !(event.key in steps)) return;
    event.preventDefault();
    const found = next(matrix, cell.parentElement.rowIndex, cell.cellIndex, steps[event.key]);
    if (!found) return;
    event.target.tabIndex = -1;
    found.tabIndex = 0;
    found.focus();
  });
}

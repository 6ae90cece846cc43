"use strict";
// Draws the plots of a page, and paints them anew when the page turns dark or light.

/** Name of a plot (the id of the section that it is in) → its document, once it is drawn. */
const plots = new Map();

/** What is called when the colours of the page change. */
const painters = [];

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const narrow = matchMedia("(max-width: 40rem)");

/** Give the models of a plot what their tags say: the colours that they name, such as
 *  "fill_color=accent", and whether they are seen on this screen, "visible=wide" or "=narrow". */
function paint(plot) {
  for (const model of plot.all_models) {
    for (const tag of model.tags) {
      const [property, name] = tag.split("=");
      model[property] = property === "visible" ? (name === "narrow") === narrow.matches
        : colourOf(name);
    }
  }
}

async function draw(figure) {
  const [place, data] = figure.children;
  const [view] = await Bokeh.embed.embed_item(JSON.parse(data.textContent), place);
  const plot = view.model.document;
  paint(plot);
  painters.push(() => paint(plot));
  plots.set(figure.closest("section").id, plot);
}

const drawn = Promise.all([...document.querySelectorAll("figure.plot")].map(draw));

for (const screen of [matchMedia("(prefers-color-scheme: dark)"), narrow]) {
  screen.addEventListener("change", () => {
    for (const painter of painters) painter();
  });
}

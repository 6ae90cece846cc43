"use strict";
// The map: colours by label, error or novelty, a legend that picks groups out, and previews.
{
  const SYMBOLS = { circle: "●", square: "■", triangle: "▲", diamond: "◆", inverted_triangle: "▼" };
  const FADED = 0.07;
  const NARROW = 500;
  const { colourings } = JSON.parse(document.getElementById("map-data").textContent);
  const choices = document.getElementById("colourings");
  const legend = document.getElementById("legend");
  const preview = document.getElementById("preview");
  const picked = document.getElementById("picked");
  let chosen = colourings[0];
  let alone = null;

  function colour(source, alpha) {
    const colours = chosen.groups.map(group => colourOf(group.colour));
    const { codes, groups } = chosen;
    source.data = {
      ...source.data,
      colour: codes.map(code => colours[code]),
      marker: codes.map(code => groups[code].marker),
      alpha: codes.map(code => (alone === null || alone === code ? alpha : FADED)),
    };
  }

  function listGroups(repaint) {
    legend.replaceChildren(...chosen.groups.map((group, code) => {
      const button = make("button", "group");
      button.type = "button";
      button.setAttribute("aria-pressed", String(alone === code));
      const symbol = make("span", "symbol", SYMBOLS[group.marker]);
      symbol.style.color = `var(--${group.colour})`;
      symbol.setAttribute("aria-hidden", "true");
      button.append(symbol, make("span", "name", group.name),
        make("span", "quiet", group.count.toLocaleString("en")));
      button.addEventListener("click", () => {
        alone = alone === code ? null : code;
        for (const [at, each] of [...legend.children].entries()) {
          each.setAttribute("aria-pressed", String(at === alone));
        }
        repaint();
      });
      return button;
    }));
  }

  /** Put the preview beside a place on the screen, inside the window. */
  function place(x, y) {
    const { offsetWidth: width, offsetHeight: height } = preview;
    const left = x + 16 + width < innerWidth ? x + 16 : x - 16 - width;
    preview.style.left = `${Math.max(8, left)}px`;
    preview.style.top = `${Math.max(8, Math.min(y - height / 2, innerHeight - height - 8))}px`;
  }

  function follow(source, canvas) {
    let shown = -1;
    let at = [0, 0];
    canvas.addEventListener("pointermove", event => {
      at = [event.clientX, event.clientY];
      if (shown >= 0) place(...at);
    });
    const hide = () => { preview.hidden = true; shown = -1; };
    canvas.addEventListener("pointerleave", hide);
    addEventListener("scroll", hide, { passive: true });
    source.inspect.connect(() => {
      const [found] = source.inspected.indices;
      if (found === undefined) { hide(); return; }
      if (found !== shown) preview.replaceChildren(...card("div", found).children);
      shown = found;
      preview.hidden = false;
      place(...at);
    });
  }

  /** Keep the point that was pressed below the map: touch screens have nothing that hovers. */
  function keep(source, ring) {
    source.selected.properties.indices.change.connect(() => {
      const [found] = source.selected.indices;
      const isNone = found === undefined;
      ring.data = {
        x: isNone ? [] : [source.data.x[found]], y: isNone ? [] : [source.data.y[found]],
      };
      picked.replaceChildren(...(isNone ? [] : [card("div", found)]));
    });
  }

  drawn.then(() => {
    const plot = plots.get("map");
    const canvas = document.querySelector("#map figure.plot > div");
    if (canvas.clientWidth < NARROW) {
      plot.roots()[0].height = canvas.clientWidth;
      canvas.style.height = `${canvas.clientWidth}px`;
    }
    const source = plot.get_model_by_name("points");
    const alpha = source.data.alpha[0] ?? 1;
    const repaint = () => colour(source, alpha);
    repaint();
    painters.push(repaint);
    listGroups(repaint);
    choices.addEventListener("change", event => {
      chosen = colourings[+event.target.value];
      alone = null;
      repaint();
      listGroups(repaint);
    });
    follow(source, canvas);
    keep(source, plot.get_model_by_name("ring"));
  });
}

"use strict";
// Cards of items: a picture or some words, the label, and what the head took it for.
// Whatever a user wrote is put in as text.

const items = JSON.parse(document.getElementById("items").textContent);

function make(tag, kind, text) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

function percent(share) {
  return `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)}\u202f%`;
}

/** Return what shows an item itself. */
function shownItem(at) {
  if (!items.pictures[at]) return make("blockquote", "", items.texts[at] || items.ids[at]);
  const holder = make("div", "picture");
  const image = make("img");
  image.src = `data:image/webp;base64,${items.pictures[at]}`;
  image.alt = "";
  holder.append(image);
  return holder;
}

/** Return a line on what an item is labelled, and what it was taken for. */
function saidOf(at) {
  const label = items.names[items.labels[at]];
  const guess = items.names[items.guesses[at]];
  const line = make("p", "said");
  line.append(make("span", "label", label ?? "no label"));
  if (guess !== undefined) {
    const isRight = items.labels[at] === items.guesses[at];
    const words = isRight ? `right, ${percent(items.sure[at])}`
      : `taken for ${guess}, ${percent(items.sure[at])}`;
    line.append(" ", make("span", isRight ? "right" : "wrong", words));
  }
  return line;
}

function card(tag, at) {
  const element = make(tag, "card");
  element.append(shownItem(at), saidOf(at), make("p", "id", items.ids[at]));
  return element;
}

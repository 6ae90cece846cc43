// Cards: items of the gallery, as neighbours of an answer or to browse in.
import { showPicture } from "./api.js";
import { canComeBack, forget, relabel } from "./changes.js";
import { complain, grow, h, percent } from "./dom.js";

/**
 * Return the card of an item.
 *
 * `answer` is the label that was answered, null where none was; `canTeach` adds what changes the
 * item; `open` shows it whole.
 */
export function cardOf(facts, { answer = null, canTeach = false, open = null }) {
  const isOther = answer !== null && facts.label !== null && facts.label !== answer;
  const card = h("li", { class: `card${isOther ? " other" : ""}` });
  const face = faceOf(facts);
  card.append(open ? h("button", { type: "button", class: "face", onclick: open }, face) : h("div", { class: "face" }, face));
  card.append(labelOf(facts.label));
  if (facts.similarity !== undefined) card.append(similarityOf(facts));
  if (canTeach) card.append(actionsOf(facts));
  return card;
}

/** Return what reminds a person of an item: its picture, or the beginning of its text. */
export function faceOf(facts) {
  if (!facts.thumbnail) return textOf(facts);
  const image = h("img", { alt: facts.id, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(textOf(facts)), { once: true });
  showPicture(image, facts.thumbnail);
  return image;
}

/** A text is known by its beginning, anything else by its id; of that a preview says little. */
function textOf(facts) {
  if (facts.modality === "text" && facts.preview) return h("span", { class: "preview" }, facts.preview);
  const id = h("span", { class: "preview id" }, facts.id);
  if (facts.modality === "image" || !facts.preview || facts.preview === facts.id) return id;
  return h("span", {}, id, h("span", { class: "preview quiet" }, facts.preview));
}

export function labelOf(label) {
  return label === null ? h("span", { class: "label none" }, "no label") : h("span", { class: "label" }, label);
}

function similarityOf(facts) {
  const bar = h("i");
  grow(bar, facts.similarity);
  const vote = facts.vote === undefined ? null : h("span", { class: "quiet" }, `vote ${percent(facts.vote)}`);
  const told = h("span", { title: "similarity" }, facts.similarity.toFixed(2));
  return h(
    "p",
    { class: "similarity" },
    h("span", { class: "unseen" }, "similarity "),
    told,
    h("span", { class: "bar", "aria-hidden": "true" }, bar),
    vote,
  );
}

/** Return the buttons that change an item of the gallery. */
export function actionsOf(facts, changed = () => {}) {
  const actions = h("div", { class: "actions" });
  const rest = () => {
    actions.replaceChildren(
      h("button", { type: "button", class: "plain", "aria-label": `Relabel ${facts.id}`, onclick: relabelling }, "Relabel"),
      h("button", { type: "button", class: "plain", "aria-label": `Forget ${facts.id}`, onclick: forgetting }, "Forget"),
    );
  };
  const relabelling = () => {
    const form = labelForm("It is", "Save", facts.label ?? "", (label) => tried(() => relabel(facts, label)));
    form.append(h("button", { type: "button", class: "plain", onclick: () => (rest(), actions.firstChild.focus()) }, "Cancel"));
    actions.replaceChildren(form);
    form.querySelector("input").select();
  };
  const forgetting = () => {
    if (canComeBack(facts)) return tried(() => forget(facts));
    const keep = h("button", { type: "button", class: "plain", onclick: () => (rest(), actions.lastChild.focus()) }, "Keep");
    const sure = () => tried(() => forget(facts));
    actions.replaceChildren(
      h("span", {}, "Forget it for good?"),
      h("button", { type: "button", class: "danger", onclick: sure }, "Forget"),
      keep,
    );
    keep.focus();
  };
  const tried = async (act) => {
    try {
      await act();
      rest();
      changed();
    } catch (error) {
      changed();
      complain(error);
    }
  };
  rest();
  return actions;
}

let forms = 0;

/** Return a form with one label in it: one that is known, or a new one. */
export function labelForm(told, offer, value, act) {
  forms += 1;
  const id = `label-${forms}`;
  const input = h("input", { id, list: "labels", value, required: true, maxlength: 1024, autocomplete: "off", placeholder: "a label" });
  const submit = async (event) => {
    event.preventDefault();
    const label = input.value.trim();
    if (!label) return;
    button.disabled = true;
    await act(label);
    button.disabled = false;
  };
  const button = h("button", { class: "primary" }, offer);
  return h("form", { class: "row teach", onsubmit: submit }, h("label", { for: id }, told), input, button);
}

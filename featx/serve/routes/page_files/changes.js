// Changes of the gallery: teach, forget, relabel; each with what takes it back, where that is known.
import { ask } from "./api.js";
import { byId, complain, h } from "./dom.js";
import { exampleRequestOf, titleOf } from "./items.js";

/** Tells "changed" after the gallery was. */
export const gallery = new EventTarget();

/** What a text's preview is cut to; a shorter one is the whole text. */
const PREVIEW_LENGTH = 200;

const taught = new Map(); // id → { item, label }: can be taught again

/** Make an item an example of a label. */
export async function teach(item, label, id = null) {
  const was = await add(item, label, id);
  const back = was.label === null ? () => remove(was.id) : () => add(item, was.label, was.id);
  done(`Learned: “${short(titleOf(item))}” is ${label}.`, back);
}

/** Remove an item; `facts` are what the service said of it. */
export async function forget(facts) {
  const again = exampleOf(facts);
  await remove(facts.id);
  done(`Forgotten: “${short(facts.id)}”.`, again && (() => add(again.item, again.label, facts.id)), "Bring it back");
}

/** Whether an item could be taught again after it was forgotten. */
export const canComeBack = (facts) => exampleOf(facts) !== null;

/** Give an item of the gallery another label. */
export async function relabel(facts, label) {
  await patch(facts.id, label);
  done(`“${short(facts.id)}” is ${label} now.`, () => patch(facts.id, facts.label));
}

async function add(item, label, id) {
  const [path, options] = exampleRequestOf(item, label, id);
  const [result] = (await ask(path, options)).results;
  if (result.error) throw new Error(result.error.message);
  const before = taught.get(result.id)?.label ?? null;
  taught.set(result.id, { item, label });
  return { id: result.id, label: before };
}

async function remove(id) {
  await ask(`/v1/examples?${new URLSearchParams({ id })}`, { method: "DELETE" });
  taught.delete(id);
}

async function patch(id, label) {
  await ask("/v1/examples", { method: "PATCH", json: { id, label } });
  if (taught.has(id)) taught.get(id).label = label;
}

function exampleOf(facts) {
  if (taught.has(facts.id)) return { ...taught.get(facts.id), label: facts.label };
  if (facts.modality !== "text" || !facts.preview || facts.preview.length >= PREVIEW_LENGTH) return null;
  return { item: { kind: "text", text: facts.preview }, label: facts.label };
}

const short = (text) => (text.length > 48 ? `${text.slice(0, 48)}…` : text);

/** Say what was done, and offer to take it back. */
function done(told, back, offer = "Undo") {
  const line = h("p", {}, h("span", {}, told));
  if (back) line.append(h("button", { type: "button", onclick: () => undo(back) }, offer));
  line.append(h("button", { type: "button", class: "icon", "aria-label": "Dismiss", onclick: quiet }, "×"));
  byId("notice").replaceChildren(line);
  gallery.dispatchEvent(new Event("changed"));
}

async function undo(back) {
  try {
    await back();
    byId("notice").replaceChildren(h("p", {}, h("span", {}, "As it was before.")));
    gallery.dispatchEvent(new Event("changed"));
  } catch (error) {
    complain(error);
  }
}

function quiet() {
  byId("notice").replaceChildren();
}

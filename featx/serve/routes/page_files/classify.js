// The first view: an item is given, its answer and its neighbours are shown, and it may be taught.
import { ask, pictureOf, showPicture } from "./api.js";
import { cosineOf, drawAnswer, sentenceOf } from "./answer.js";
import { cardOf, labelForm } from "./cards.js";
import { teach } from "./changes.js";
import { byId, calm, complain, h, hasHope, show } from "./dom.js";
import { openDetail } from "./detail.js";
import { prepareInput, showItem } from "./input.js";
import { embeddingRequestOf, isSame, requestOf, titleOf } from "./items.js";

const FEW = 6;
const NEAR = 8;
const REMEMBERED = 24;
const MOST_CARDS = 12;
const SAMPLES = 6;

/** The item that is shown and its answer; null before the first. */
export const latest = { item: null, answer: null };

const OFFERS = { multilabel: "Tag", regress: "Estimate" };

let model = null;
let asking = null;
let pending = Promise.resolve();
let asked = []; // { item, answer, said }, the newest first

/** Prepare the view for what is served. */
export function startAsking(served) {
  useModel(served);
  prepareInput(served, given);
  showEmpty();
}

/** Take up what is served now: other classes, or another model. */
export function useModel(served) {
  model = served;
  const offer = { embed: "Embed", search: "Search", classify: OFFERS[model.task] ?? "Classify" }[taskOf(model)];
  byId("go-text").textContent = byId("go-array").textContent = byId("tab-ask").textContent = offer;
  if (!model.can_teach) byId("teach").replaceChildren();
  else {
    if (!byId("teach").firstChild) byId("teach").append(teachForm());
    byId("teach").querySelector("label").textContent = taskOf(model) === "search" ? "It is" : "Wrong? It is";
  }
  show(byId("teach"), model.can_teach && latest.item !== null);
}

/** Return what the model is asked to do. */
export function taskOf(served) {
  if (served.kind === "backbone") return "embed";
  return served.kind === "gallery" && !served.classes.length ? "search" : "classify";
}

/** Ask about the item that is shown once more, and show what has changed. */
export async function askAgain() {
  if (latest.item) await askAbout(latest.item, { before: latest.answer });
}

/** Ask about an item of the gallery. */
export async function askAboutExample(facts) {
  try {
    await given([await itemOfExample(facts)]);
  } catch (error) {
    complain(error);
  }
}

async function itemOfExample(facts) {
  if (model.modality === "text") return { kind: "text", text: facts.preview };
  const file = await pictureOf(facts.thumbnail);
  return { kind: "image", file, name: facts.id, url: URL.createObjectURL(file) };
}

/** Whether there is enough of an example to ask about it. */
export const canAskAbout = (facts) => (model.modality === "text" ? Boolean(facts.preview) : Boolean(facts.thumbnail));

async function given(items, { isDraft = false } = {}) {
  if (!items.length) return forgetLatest();
  await askAbout(items[0], { isDraft });
  for (const item of items.slice(1)) {
    try {
      remember(item, await answerOf(item));
    } catch (error) {
      remember(item, null, error.message);
    }
  }
}

function askAbout(item, { before = null, isDraft = false } = {}) {
  asking?.abort();
  asking = new AbortController();
  pending = askedBy(asking, item, { before, isDraft });
  return pending;
}

async function askedBy(controller, item, { before, isDraft }) {
  if (!isDraft) showItem(item);
  if (!isDraft && !before) clear();
  byId("answer").setAttribute("aria-busy", "true");
  try {
    const answer = await answerOf(item, controller.signal);
    calm();
    Object.assign(latest, { item, answer });
    draw(answer, before);
    if (isDraft) return;
    remember(item, answer);
    if (!before) reveal(byId("answer"));
  } catch (error) {
    if (error.name === "AbortError" || asking !== controller) return;
    if (!before) clear();
    if (!hasHope(error)) error.message = `${titleOf(item)}: ${error.message}`;
    complain(error, () => askAbout(item, { before, isDraft }));
  } finally {
    if (asking === controller) byId("answer").setAttribute("aria-busy", "false");
  }
}

async function answerOf(item, signal) {
  const task = taskOf(model);
  if (task === "embed") return embedded(item, signal);
  if (task === "search") return only(await ask(...withSignal(requestOf("/v1/search", item, { k: NEAR }), signal)));
  const answer = only(await ask(...withSignal(requestOf("/v1/classify", item, { top: 5 }), signal)));
  if (answer.neighbours && answer.neighbours.length < FEW) answer.neighbours = await withMore(answer.neighbours, item, signal);
  return answer;
}

const withSignal = ([path, options], signal) => [path, { ...options, signal }];

function only({ results: [result] }) {
  if (result.error) throw new Error(result.error.message);
  return result;
}

/** A few neighbours vote; show a few more that do not. */
async function withMore(voters, item, signal) {
  const near = only(await ask(...withSignal(requestOf("/v1/search", item, { k: NEAR }), signal))).neighbours;
  const votes = new Map(voters.map((each) => [each.id, each]));
  const others = near.filter((each) => !votes.has(each.id));
  return [...voters, ...others].sort((one, other) => other.similarity - one.similarity);
}

async function embedded(item, signal) {
  const answer = await ask(...withSignal(await embeddingRequestOf(item, model.id), signal));
  const vector = answer.data[0].embedding;
  const others = asked.filter((each) => each.answer?.vector && !isSame(each.item, item));
  const earlier = others.map((each) => ({ title: titleOf(each.item), cosine: cosineOf(vector, each.answer.vector) }));
  return { vector, model: answer.model, earlier };
}

function draw(answer, before) {
  byId("said").textContent = sentenceOf(answer);
  byId("answer").replaceChildren(...drawAnswer(answer, before).filter(Boolean));
  show(byId("teach"), model.can_teach);
  show(byId("samples"), false);
  drawNear(answer.neighbours ?? [], answer.label ?? null);
}

/** Take an answer away: another item is given, which must not be taken for, or taught as, this one. */
function clear() {
  Object.assign(latest, { item: null, answer: null });
  byId("said").textContent = "";
  byId("answer").replaceChildren(h("p", { class: "empty quiet" }, "The answer appears here."));
  show(byId("teach"), false);
  drawNear([], null);
  drawAsked();
}

/** What was given cannot be read: nothing is asked, and nothing is answered any more. */
function forgetLatest() {
  asking?.abort();
  clear();
}

/** Scroll to an answer that came outside of what is seen, as it does on a phone. */
function reveal(answer) {
  const { top } = answer.getBoundingClientRect();
  if (top >= 0 && top < 0.6 * innerHeight) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  answer.scrollIntoView({ block: "start", behavior: isCalm ? "auto" : "smooth" });
}

function drawNear(neighbours, answered) {
  const [near, items] = [byId("near"), byId("near-items")];
  const hadFocus = near.contains(document.activeElement);
  const cards = neighbours.map((each) => {
    const facts = { ...each, modality: model.modality };
    return cardOf(facts, { answer: answered, canTeach: model.can_teach, open: () => openDetail(facts, model) });
  });
  const all = byId("near-all");
  items.replaceChildren(...cards.slice(0, MOST_CARDS));
  all.textContent = `Show all ${cards.length}`;
  all.onclick = () => (items.append(...cards.slice(MOST_CARDS)), show(all, false), cards[MOST_CARDS].querySelector("button").focus());
  show(all, cards.length > MOST_CARDS);
  items.classList.toggle("texts", model.modality !== "image");
  show(near, cards.length > 0);
  if (hadFocus) byId("near-title").focus();
}

function teachForm() {
  const act = async (label) => {
    try {
      await pending; // what is meant is the item that was given, not the one before
      if (!latest.item) return; // it could not be answered, which is said
      await teach(latest.item, label);
      byId("teach").querySelector("input").value = "";
    } catch (error) {
      complain(error);
    }
  };
  return labelForm("Wrong? It is", "Teach", "", act);
}

/** Keep an item in the list of those that were asked about. */
function remember(item, answer, problem = "") {
  asked = [{ item, answer, said: problem || (answer.vector ? "" : sentenceOf(answer)) }, ...asked.filter((each) => !isSame(each.item, item))];
  asked = asked.slice(0, REMEMBERED);
  drawAsked();
}

function drawAsked() {
  const shown = asked.map((each) => h("li", {}, askedButton(each)));
  byId("asked-items").replaceChildren(...shown);
  byId("asked-items").classList.toggle("pictures", model.modality === "image");
  show(byId("asked"), asked.length > 1);
}

function askedButton({ item, said }) {
  const isShown = latest.item !== null && isSame(item, latest.item);
  const face = item.url ? h("img", { src: item.url, alt: titleOf(item) }) : h("span", { class: "title" }, titleOf(item));
  return h(
    "button",
    { type: "button", "aria-current": isShown ? "true" : null, onclick: () => askAbout(item) },
    face,
    h("span", { class: "quiet" }, said),
  );
}

/** Before the first question: a few items of the gallery to begin with. */
async function showEmpty() {
  byId("answer").replaceChildren(h("p", { class: "empty quiet" }, "The answer appears here."));
  if (model.kind !== "gallery" || !["text", "image"].includes(model.modality) || !model.items) return;
  try {
    const found = await samples();
    if (latest.item || !found.length) return;
    byId("samples-items").replaceChildren(...found.map((facts) => h("li", {}, sampleButton(facts))));
    byId("samples-items").classList.toggle("texts", model.modality === "text");
    show(byId("samples"), true);
  } catch (error) {
    complain(error);
  }
}

/** Return one item of each of a few classes, drawn by chance. */
async function samples() {
  const { labels } = await ask("/v1/examples?limit=1");
  const names = Object.keys(labels).sort(() => Math.random() - 0.5).slice(0, SAMPLES);
  const queries = names.map((label) => new URLSearchParams({ label, limit: 20 }));
  const pages = await Promise.all(queries.map((query) => ask(`/v1/examples?${query}`)));
  return pages.map(({ items }) => items[Math.floor(Math.random() * items.length)]).filter((facts) => facts && canAskAbout(facts));
}

function sampleButton(facts) {
  const button = h("button", { type: "button", onclick: () => askAboutExample(facts) });
  if (model.modality === "image") {
    const image = h("img", { alt: facts.id });
    image.addEventListener("error", () => button.parentElement?.remove(), { once: true });
    showPicture(image, facts.thumbnail);
    button.append(image);
  } else button.append(h("span", { class: "preview" }, facts.preview));
  return button;
}

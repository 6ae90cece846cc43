// The third view: the items of the gallery laid out so that those that are alike lie together.
import { ask, showPicture } from "./api.js";
import { faceOf, labelOf } from "./cards.js";
import { latest } from "./classify.js";
import { openDetail } from "./detail.js";
import { byId, calmly, complain, grouped, h, show } from "./dom.js";
import { N_SHAPES, Scatter, drawMark } from "./scatter.js";

const COLOURS = 9;
const UNREADY_MS = 1200;
const RESTING_MS = 120;
const TIP_PX = 112; // half of the widest

let model = null;
let scatter = null;
let classes = []; // { label, code, shape, count }; the last one may be that of no label
let isLoading = false;
const pictures = new Map(); // id → image, as soon as it is loaded
const known = new Map(); // id → facts

/** Prepare the view for what is served. */
export function startMap(served) {
  model = served;
  scatter = new Scatter(byId("canvas"), { picked: drawTip, opened: open, moved: placeTip, pictureOf });
  byId("nearer").addEventListener("click", () => scatter.zoomBy(1.6));
  byId("farther").addEventListener("click", () => scatter.zoomBy(1 / 1.6));
  byId("whole").addEventListener("click", () => scatter.showAll());
  byId("map-list").addEventListener("toggle", drawList);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
}

/** Take up what is served now; it is laid out anew once it is looked at. */
export function useMap(served) {
  model = served;
  known.clear();
  if (!byId("map").hidden) load();
}

/** Draw the map that there is now; a newer one may have been laid out since the last time. */
export async function showMap() {
  placeQuery();
  await load();
}

async function load() {
  if (isLoading) return;
  isLoading = true;
  try {
    for (;;) {
      const found = await ask("/v1/map");
      if (found.points.length) take(found);
      if (found.ready || byId("map").hidden) break;
      byId("map-about").textContent = "Laying out the items ...";
      await new Promise((done) => setTimeout(done, UNREADY_MS));
    }
  } catch (error) {
    complain(error, load);
  } finally {
    isLoading = false;
  }
}

function take({ points, items, shown, method }) {
  const counts = new Map();
  for (const { label } of points) counts.set(label, (counts.get(label) ?? 0) + 1);
  const labels = [...counts.keys()].sort((one, other) => (one === null) - (other === null) || String(one).localeCompare(String(other)));
  classes = labels.map((label, code) => ({ label, code, shape: code % N_SHAPES, count: counts.get(label) }));
  const codes = new Map(classes.map((each) => [each.label, each]));
  const [across, down] = [spread(points, "x"), spread(points, "y")];
  const coded = points.map((point) => ({ ...point, ...codes.get(point.label), x: across(point.x), y: down(point.y) }));
  coded.sort((one, other) => one.code - other.code || one.x - other.x);
  const part = shown < items ? `${grouped(shown)} of ${grouped(items)} items` : `${grouped(items)} items`;
  byId("map-about").textContent = `${part}. What is alike lies together (${method.replace("-", "\u2011")}); distances between groups mean little.`;
  scatter.dimmed.clear();
  drawLegend();
  recolour();
  scatter.show(coded);
  placeQuery();
  drawList();
}

/** Return a function that lets an axis run from 0 to 1, whatever of it is in use. */
function spread(points, axis) {
  const values = points.map((point) => point[axis]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => (high > low ? (value - low) / (high - low) : 0.5);
}

/** Put a ring where the item that was asked about last belongs. */
function placeQuery() {
  const near = latest.answer?.neighbours ?? [];
  const ids = new Set(near.map((each) => each.id));
  const found = scatter.points.filter((point) => ids.has(point.id));
  const votes = new Map(near.map((each) => [each.id, each.vote ?? 0]));
  const total = found.reduce((sum, point) => sum + votes.get(point.id), 0);
  const weigh = (point) => (total ? votes.get(point.id) / total : 1 / found.length);
  const mean = (axis) => found.reduce((sum, point) => sum + weigh(point) * point[axis], 0);
  scatter.query = found.length ? { x: mean("x"), y: mean("y"), near: found } : null;
  scatter.draw();
}

function drawLegend() {
  const entries = classes.map((each) => {
    const mark = h("canvas", { class: `mark colour-${each.label === null ? "none" : each.code % COLOURS}`, "aria-hidden": "true" });
    const toggle = () => isolate(each.code);
    const name = each.label ?? "no label";
    return h("button", { type: "button", "aria-pressed": "false", "data-code": each.code, onclick: toggle }, mark, h("span", {}, name), h("span", { class: "quiet" }, grouped(each.count)));
  });
  byId("legend").replaceChildren(...entries);
}

/** Show one class alone, or several; all of them once none is chosen. */
function isolate(code) {
  const buttons = [...byId("legend").children];
  const button = buttons[code];
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  const chosen = new Set(buttons.filter((each) => each.getAttribute("aria-pressed") === "true").map((each) => Number(each.dataset.code)));
  scatter.dimmed = new Set(chosen.size ? classes.map((each) => each.code).filter((each) => !chosen.has(each)) : []);
  scatter.draw();
}

/** Take the colours of the page as it is now, light or dark. */
export function recolour() {
  if (!scatter) return;
  const marks = [...byId("legend").querySelectorAll("canvas")];
  scatter.colours = marks.map((mark) => getComputedStyle(mark).color);
  const style = getComputedStyle(document.body);
  scatter.ink = style.color;
  scatter.paper = style.backgroundColor;
  marks.forEach((mark, code) => drawMark(mark, classes[code].shape, scatter.colours[code]));
  scatter.draw();
}

function pictureOf(point) {
  if (model.modality !== "image") return null;
  if (!pictures.has(point.id)) {
    const image = new Image();
    pictures.set(point.id, null);
    image.addEventListener("load", () => {
      pictures.set(point.id, image);
      scatter.draw();
    });
    showPicture(image, pathOf(point));
  }
  return pictures.get(point.id);
}

const pathOf = (point) => `/v1/thumbnail?${new URLSearchParams({ id: point.id })}`;

/** Show what is under the pointer beside it. */
function drawTip(point) {
  const tip = byId("tip");
  show(tip, point !== null);
  if (!point) return;
  byId("map-said").textContent = `${point.id}, ${point.label ?? "no label"}`;
  const facts = known.get(point.id) ?? { ...point, preview: "", thumbnail: model.modality === "image" ? pathOf(point) : null };
  tip.replaceChildren(faceOf(facts), labelOf(point.label));
  placeTip(point);
  if (model.modality !== "image" && !known.has(point.id)) lookUp(point);
}

const lookUp = calmly(async (point) => {
  await factsOf(point);
  if (scatter.chosen?.id === point.id) drawTip(point);
}, RESTING_MS);

function placeTip(point) {
  if (!point) return;
  const tip = byId("tip");
  const { x, y } = scatter.placeOf(point);
  const { clientWidth: width, clientHeight: height } = byId("canvas");
  tip.classList.toggle("below", y < height / 2);
  tip.style.left = `${Math.max(TIP_PX, Math.min(width - TIP_PX, x))}px`;
  tip.style.top = `${y}px`;
}

/** Return what the gallery holds of a point. */
async function factsOf(point) {
  if (!known.has(point.id)) {
    const query = new URLSearchParams({ q: point.id, limit: 50 });
    const { items } = await ask(`/v1/examples?${query}`);
    const found = items.find((each) => each.id === point.id) ?? { ...point, preview: "", split: null, uri: "", thumbnail: null };
    known.set(point.id, { ...found, modality: model.modality });
  }
  return known.get(point.id);
}

async function open(point) {
  try {
    openDetail(await factsOf(point), model);
  } catch (error) {
    complain(error);
  }
}

/** List the points by class, for those who do not see the map. */
function drawList() {
  if (!byId("map-list").open) return;
  const groups = classes.map(({ label, code, count }) => {
    const points = scatter.points.filter((point) => point.code === code);
    const items = points.map((point) => h("li", {}, h("button", { type: "button", class: "plain", onfocus: () => scatter.choose(point), onclick: () => open(point) }, point.id)));
    return h("section", {}, h("h2", {}, `${label ?? "no label"} (${grouped(count)})`), h("ul", {}, ...items));
  });
  byId("map-items").replaceChildren(...groups);
}

// The second view: all items of the gallery, by class, by search.
import { ask } from "./api.js";
import { cardOf } from "./cards.js";
import { openDetail } from "./detail.js";
import { byId, calmly, complain, counted, grouped, h, show } from "./dom.js";

const PAGE = 48;
const TYPING_MS = 200;

let model = null;
let next = null;
let turn = 0; // of the latest listing; what an older one answers is passed over
let isFresh = false;

/** Prepare the view for what is served. */
export function startBrowsing(served) {
  useGallery(served);
  byId("filter").addEventListener("submit", (event) => (event.preventDefault(), list()));
  byId("query").addEventListener("input", calmly(list, TYPING_MS));
  byId("class-filter").addEventListener("change", list);
  byId("more").addEventListener("click", more);
  new IntersectionObserver(([seen]) => seen.isIntersecting && !byId("more").hidden && more()).observe(byId("more"));
}

/** Take up what is served now; it is listed anew once it is looked at. */
export function useGallery(served) {
  model = served;
  isFresh = false;
  if (!byId("browse").hidden) list();
}

/** List the items, unless they are there. */
export function showBrowse() {
  if (!isFresh) list();
}

async function list() {
  next = null;
  show(byId("more"), false);
  await load((cards) => byId("grid").replaceChildren(...cards));
}

async function more() {
  if (next === null) return;
  const after = next;
  next = null;
  await load((cards) => byId("grid").append(...cards), after);
}

async function load(put, after = null) {
  turn += 1;
  const own = turn;
  const query = new URLSearchParams({ limit: PAGE });
  if (byId("query").value.trim()) query.set("q", byId("query").value.trim());
  if (byId("class-filter").value) query.set("label", byId("class-filter").value.slice(1));
  if (after !== null) query.set("after", after);
  byId("grid").setAttribute("aria-busy", "true");
  try {
    const page = await ask(`/v1/examples?${query}`);
    if (own !== turn) return;
    isFresh = true;
    put(page.items.map(card));
    drawFilter(page);
    next = page.next;
    show(byId("more"), next !== null);
  } catch (error) {
    if (own !== turn) return;
    if (error.code === "stale_cursor") await list();
    else complain(error, list);
  } finally {
    if (own === turn) byId("grid").removeAttribute("aria-busy");
  }
}

function card(found) {
  const facts = { ...found, modality: model.modality };
  return cardOf(facts, { open: () => openDetail(facts, model) });
}

function drawFilter({ labels, total }) {
  const select = byId("class-filter");
  const chosen = select.value;
  const all = h("option", { value: "" }, `All classes (${grouped(model.items)})`);
  const classes = Object.entries(labels).map(([label, count]) => h("option", { value: `=${label}` }, `${label} (${grouped(count)})`));
  select.replaceChildren(all, ...classes);
  select.value = chosen;
  if (select.selectedIndex < 0) {
    select.value = ""; // the class is gone
    list();
  }
  byId("grid").classList.toggle("texts", model.modality !== "image");
  byId("browse-count").textContent = total ? counted(total, "item") : "Nothing found";
}

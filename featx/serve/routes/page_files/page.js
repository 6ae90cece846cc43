// The page: what is served, its views, its colours.
import { ask } from "./api.js";
import { showBrowse, startBrowsing, useGallery } from "./browse.js";
import { gallery } from "./changes.js";
import { askAgain, startAsking, useModel } from "./classify.js";
import { byId, calm, complain, counted, h, show } from "./dom.js";
import { recolour, showMap, startMap, useMap } from "./map.js";

const VIEWS = ["ask", "browse", "map"];
const ENTER = { ask: () => {}, browse: showBrowse, map: showMap };

async function load() {
  const { data } = await ask("/v1/models");
  return data[0];
}

/** Say what is served. */
function describe(model) {
  document.title = `${model.id} · featx`;
  byId("name").textContent = model.id;
  byId("about").textContent = aboutOf(model).filter(Boolean).join(" · ");
  byId("labels").replaceChildren(...model.classes.map((label) => h("option", { value: label })));
}

function aboutOf(model) {
  const classes = { classify: "class", multilabel: "tag", regress: "value" }[model.task ?? "classify"];
  const plural = model.classes.length === 1 ? classes : `${classes}${classes === "class" ? "es" : "s"}`;
  return [
    model.items === undefined ? "" : counted(model.items, "item"),
    model.classes.length ? `${model.classes.length} ${plural}` : "",
    model.kind === "backbone" ? `${model.dim} numbers of ${MATTER[model.modality]}` : `by ${model.backbone}`,
  ];
}

const MATTER = { text: "a text", image: "an image", audio: "a sound", array: "an array" };

function viewOf(hash) {
  const view = hash.slice(1);
  return VIEWS.includes(view) && !byId("tabs").hidden ? view : "ask";
}

/** Show one of the views, the one of the address; an error of another one goes. */
function turn() {
  calm();
  const view = viewOf(location.hash);
  for (const each of VIEWS) {
    const isShown = each === view;
    show(byId(each), isShown);
    const tab = document.querySelector(`[aria-controls="${each}"]`);
    tab.setAttribute("aria-selected", String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
  }
  ENTER[view]();
}

function prepareTabs() {
  const tabs = [...byId("tabs").children];
  for (const tab of tabs) {
    tab.addEventListener("click", () => {
      history.pushState(null, "", `#${tab.getAttribute("aria-controls")}`);
      turn();
    });
  }
  byId("tabs").addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    tab.click();
  });
  addEventListener("popstate", turn);
}

function prepareTheme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => {
    const told = isDark() ? "Light colours" : "Dark colours";
    button.setAttribute("aria-label", told);
    button.title = told;
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    root.dataset.theme = theme;
    try {
      // The system's own choice is not kept: the page then follows it again.
      if ((theme === "dark") === dark.matches) {
        localStorage.removeItem("featx-theme");
        delete root.dataset.theme;
      } else localStorage.setItem("featx-theme", theme);
    } catch {
      // Storage is switched off: the choice holds for this visit.
    }
    name();
    recolour();
  });
  dark.addEventListener("change", name);
  name();
}

/** Look at what is served once more; it may have been taught, or replaced by another. */
async function refresh() {
  try {
    const model = await load();
    describe(model);
    useModel(model);
    useGallery(model);
    useMap(model);
    await askAgain();
  } catch (error) {
    complain(error, refresh);
  }
}

async function start() {
  try {
    const model = await load();
    describe(model);
    show(byId("tabs"), model.kind === "gallery");
    startAsking(model);
    if (model.kind === "gallery") {
      startBrowsing(model);
      startMap(model);
      gallery.addEventListener("changed", refresh);
    }
    turn();
  } catch (error) {
    complain(error, start);
  }
}

prepareTheme();
prepareTabs();
start();

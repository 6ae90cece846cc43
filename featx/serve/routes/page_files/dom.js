// Elements, and how numbers are written.  Text only ever enters as text nodes.

export const byId = (id) => document.getElementById(id);

/** Return a new element; attributes that are null or false are left out, `onclick` listens. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

/** Write a share as people do: no false certainty at either end. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "<1\u00a0%";
  if (share < 1 && share >= 0.995) return ">99\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}

const GROUPED = new Intl.NumberFormat("en");
const MEASURED = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export const grouped = (count) => GROUPED.format(count);
export const measured = (value) => MEASURED.format(value);
export const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Let a bar grow from one share of its width to another. */
export function grow(bar, share, from = share) {
  const width = (part) => `${Math.max(0, Math.min(1, part)) * 100}%`;
  bar.style.width = width(from);
  if (from !== share) {
    requestAnimationFrame(() => requestAnimationFrame(() => (bar.style.width = width(share))));
  }
}

/** Return a function that runs `act` once no call came for a while. */
export function calmly(act, pause_ms) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), pause_ms);
  };
}

/** Show an error where it cannot be missed; `again` is offered where it may have passed by then. */
export function complain(error, again = null) {
  if (error.name === "AbortError") return;
  const line = h("p", { class: "warning" }, h("span", {}, error.message || String(error)));
  if (again && hasHope(error)) line.append(h("button", { type: "button", onclick: () => (calm(), again()) }, "Try again"));
  line.append(h("button", { type: "button", class: "icon", "aria-label": "Dismiss", onclick: calm }, "×"));
  byId("alert").replaceChildren(line);
}

/** Whether an error may have passed by the next try; else it is the item's own. */
export const hasHope = ({ status }) => status === 0 || status === 429 || status >= 500;

/** Take the error away. */
export function calm() {
  byId("alert").replaceChildren();
}

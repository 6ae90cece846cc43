// One item of the gallery, whole, in a dialog.
import { actionsOf, faceOf, labelOf } from "./cards.js";
import { askAboutExample, canAskAbout } from "./classify.js";
import { byId, h } from "./dom.js";

/** Show all that is known of an item. */
export function openDetail(facts, model) {
  const dialog = byId("detail");
  const close = () => dialog.close();
  const row = (name, value) => (value ? [h("dt", {}, name), h("dd", {}, value)] : []);
  const similarity = facts.similarity === undefined ? "" : facts.similarity.toFixed(4);
  const preview = facts.thumbnail && facts.preview !== facts.id ? facts.preview : "";
  const actions = h("div", { class: "row" });
  if (canAskAbout(facts)) {
    const about = () => {
      close();
      byId("tab-ask").click();
      askAboutExample(facts);
    };
    actions.append(h("button", { type: "button", class: "primary", onclick: about }, "Ask about it"));
  }
  if (model.can_teach) actions.append(actionsOf(facts, close));
  dialog.replaceChildren(
    h("button", { type: "button", class: "icon close", "aria-label": "Close", onclick: close }, "×"),
    h("h2", { id: "detail-title" }, facts.id),
    h("div", { class: "face" }, faceOf(facts)),
    labelOf(facts.label),
    h("dl", {}, ...row("Split", facts.split), ...row("Similarity", similarity), ...row("Preview", preview), ...row("From", facts.uri)),
    actions,
  );
  dialog.setAttribute("aria-labelledby", "detail-title");
  dialog.onclick = (event) => {
    if (event.target === dialog) close(); // beside it; to return false would hold up its forms
  };
  dialog.showModal();
}

// What the model says of an item, drawn.
import { counted, grouped, grow, h, measured, percent } from "./dom.js";

const SHOWN_OF_SET = 6;
const SHOWN_NUMBERS = 12;

/** Return what is said, in one sentence. */
export function sentenceOf(answer) {
  if (answer.vector) return `${grouped(answer.vector.length)} numbers`;
  if (answer.values) return listed(Object.entries(answer.values).map(([name, value]) => `${name} ${measured(value)}`));
  if (answer.tags) return answer.tags.length ? listed(answer.tags) : "no tag fits";
  if (answer.label === undefined) return counted(answer.neighbours.length, "near example");
  return answer.label === null ? "no label" : `${answer.label}, ${percent(answer.probability)}`;
}

/** Return the elements of an answer; `before` is what was answered before a change, or null. */
export function drawAnswer(answer, before) {
  if (answer.vector) return drawVector(answer);
  const drawn = [];
  if (answer.values) drawn.push(drawValues(answer));
  if (answer.tags) drawn.push(drawTags(answer));
  if (answer.label !== undefined) drawn.push(drawLabel(answer, before));
  if (answer.novel) drawn.push(h("p", { class: "novel" }, h("strong", {}, "Unlike anything it has seen."), " Take the answer with care."));
  if (answer.probabilities) drawn.push(drawBars(answer.probabilities, answer.tags ?? [answer.label], before?.probabilities));
  if (answer.label !== undefined) drawn.push(drawSet(answer));
  return drawn;
}

function drawLabel(answer, before) {
  const told = h("div", { class: "verdict" }, h("p", { class: "winner" }, answer.label ?? "no label"));
  told.append(h("p", { class: "share" }, percent(answer.probability)));
  if (before && before.label !== undefined) told.append(h("p", { class: "was" }, changeOf(answer, before)));
  return told;
}

function changeOf(answer, before) {
  const [now, then] = [percent(answer.probability), percent(before.probability)];
  if (answer.label !== before.label) return `It was ${before.label ?? "no label"}, ${then}.`;
  return now === then ? "As before." : `It was ${then}.`;
}

/** Draw shares as bars, those that were chosen in colour; those of before leave a mark where they ended. */
function drawBars(shares, chosen, before = null) {
  const rows = Object.entries(shares).map(([label, share]) => {
    const bar = h("i");
    const then = before?.[label];
    const track = h("span", { class: "bar", "aria-hidden": "true" }, bar);
    grow(bar, share, then ?? (before ? 0 : share));
    if (then !== undefined && then !== share) {
      const mark = h("b");
      mark.style.left = `${100 * Math.min(1, then)}%`;
      track.append(mark);
    }
    const row = h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, track), h("td", {}, percent(share)));
    row.classList.toggle("in", chosen.includes(label));
    return row;
  });
  return h("table", { class: "bars", "aria-label": "Confidence" }, h("tbody", {}, ...rows));
}

function drawSet(answer) {
  if (!Array.isArray(answer.set)) return drawVotes(answer);
  const words = answer.set;
  if (words.length === 0) return h("p", { class: "set" }, h("strong", {}, "None fits"), " well enough to be in the set.");
  if (words.length === 1) return h("p", { class: "set" }, "Only ", h("strong", {}, words[0]), " fits.");
  return h("p", { class: "set" }, "One of: ", h("strong", {}, listed(words, SHOWN_OF_SET)), ".");
}

/** A gallery has no set; how many neighbours agree says as much. */
function drawVotes(answer) {
  const voters = answer.neighbours.filter((each) => each.vote !== undefined);
  const agree = voters.filter((each) => each.label === answer.label).length;
  if (!voters.length) return null;
  const told = voters.length === 1 ? "The nearest example says so." : `${agree} of the ${voters.length} nearest examples say so.`;
  return h("p", { class: "set" }, told);
}

function listed(words, most = words.length) {
  const rest = words.length - most;
  return rest > 0 ? `${words.slice(0, most).join(", ")} and ${rest} more` : words.join(", ");
}

function drawTags(answer) {
  if (!answer.tags.length) return h("p", { class: "winner none" }, "No tag fits");
  const tags = answer.tags.map((tag) => h("li", { class: "label" }, tag));
  return h("ul", { class: "tags", "aria-label": "Tags" }, ...tags);
}

function drawValues(answer) {
  const rows = Object.entries(answer.values).map(([name, value]) => {
    const [low, high] = answer.intervals[name] ?? [value, value];
    const mark = h("b");
    mark.style.left = `${high > low ? (100 * (value - low)) / (high - low) : 50}%`;
    return h(
      "li",
      {},
      h("p", { class: "quiet" }, name),
      h("p", { class: "winner" }, measured(value)),
      h("div", { class: "range", "aria-hidden": "true" }, h("span", {}, measured(low)), h("span", { class: "bar" }, mark), h("span", {}, measured(high))),
      h("p", { class: "unseen" }, `between ${measured(low)} and ${measured(high)}`),
    );
  });
  return h("ul", { class: "values", "aria-label": "Values" }, ...rows);
}

function drawVector({ vector, model, earlier }) {
  const code = h("canvas", { class: "stripes", role: "img", "aria-label": "The numbers as stripes, dark where they are large" });
  requestAnimationFrame(() => drawStripes(code, vector));
  const first = vector.slice(0, SHOWN_NUMBERS).map((value) => value.toFixed(4)).join(", ");
  const copied = async (event) => {
    await navigator.clipboard.writeText(JSON.stringify(vector));
    event.target.textContent = "Copied";
  };
  const copy = navigator.clipboard && h("button", { type: "button", onclick: copied }, "Copy all");
  return [
    h("p", { class: "winner small" }, `${grouped(vector.length)} numbers `, h("span", { class: "quiet" }, `of ${model}`)),
    code,
    h("p", { class: "numbers" }, `${first}${vector.length > SHOWN_NUMBERS ? " ..." : ""}`),
    h("p", { class: "row" }, copy || null),
    ...drawCosines(earlier),
  ];
}

/** Draw how alike the item is to those that were asked about before. */
function drawCosines(earlier) {
  if (!earlier.length) return [h("p", { class: "quiet" }, "Ask about another item to see how alike they are.")];
  const nearest = [...earlier].sort((one, other) => other.cosine - one.cosine);
  const rows = nearest.map(({ title, cosine }, place) => {
    const bar = h("i");
    grow(bar, cosine);
    return h("tr", { class: place === 0 ? "in" : null }, h("th", { scope: "row" }, title), h("td", {}, h("span", { class: "bar", "aria-hidden": "true" }, bar)), h("td", {}, cosine.toFixed(3)));
  });
  return [h("h2", {}, "Cosine to earlier items"), h("table", { class: "bars", "aria-label": "Cosines" }, h("tbody", {}, ...rows))];
}

function drawStripes(canvas, vector) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  const largest = Math.max(...vector.map(Math.abs), 1e-12);
  const [above, below] = ["positive", "negative"].map((name) => colourOf(canvas, name));
  const wide = canvas.width / vector.length;
  vector.forEach((value, at) => {
    pen.globalAlpha = Math.abs(value) / largest;
    pen.fillStyle = value > 0 ? above : below;
    pen.fillRect(Math.floor(at * wide), 0, Math.ceil(wide), canvas.height);
  });
}

function colourOf(canvas, name) {
  const probe = h("i", { class: name });
  canvas.after(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Return the cosine of two vectors; 0 where one of them is zero. */
export function cosineOf(one, other) {
  const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
  const lengths = Math.sqrt(dot(one, one) * dot(other, other));
  return lengths ? dot(one, other) / lengths : 0;
}

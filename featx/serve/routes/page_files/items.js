// Items: what a person asks about, and the requests that carry it.

/*
 * { kind: "text", text }                      a text
 * { kind: "array", vector }                   numbers
 * { kind: "image" | "audio", file, name }     a file; `url` shows a picture, `samples` are a sound's
 */

/** Return what an item is called in a list. */
export function titleOf(item) {
  if (item.kind === "text") return item.text.trim().split(/\s+/).join(" ").slice(0, 80);
  if (item.kind === "array") return item.vector.slice(0, 4).join(", ") + (item.vector.length > 4 ? " ..." : "");
  return item.name;
}

/** Whether two items are the same. */
export function isSame(one, other) {
  if (one.kind !== other.kind) return false;
  if (one.kind === "text") return one.text === other.text;
  if (one.kind === "array") return String(one.vector) === String(other.vector);
  return one.file === other.file;
}

/** Return the path and options of a request with one item, and other fields beside it. */
export function requestOf(path, item, fields = {}) {
  if (item.file) {
    const query = new URLSearchParams(fields);
    const type = item.file.type.startsWith(`${item.kind}/`) ? item.file.type : "application/octet-stream";
    return [`${path}?${query}`, { method: "POST", body: item.file, type }];
  }
  return [path, { method: "POST", json: { input: inputOf(item), ...fields } }];
}

/** Return the request that asks for the vector of an item; files travel as base64 there. */
export async function embeddingRequestOf(item, model) {
  const input = item.file ? { [item.kind]: await dataUri(item.file) } : inputOf(item);
  return ["/v1/embeddings", { method: "POST", json: { input: [input], model } }];
}

/** Return the request that makes an item an example of the gallery. */
export function exampleRequestOf(item, label, id = null) {
  const named = { ...(id === null ? {} : { id }), ...(label === null ? {} : { label }) };
  if (item.file) return requestOf("/v1/examples", item, { ...named, replace: "true" });
  const examples = [{ ...named, input: inputOf(item) }];
  return ["/v1/examples", { method: "POST", json: { examples, replace: true } }];
}

function inputOf(item) {
  return item.kind === "text" ? { text: item.text } : { vector: item.vector };
}

function dataUri(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Error(`${file.name}: cannot be read`));
    reader.readAsDataURL(file);
  });
}

/**
 * Return the numbers of a text; brackets and quotes around them do not matter.
 *
 * An error says which word is no number, or how many there are.
 */
export function numbersOf(text, dim) {
  const words = text.replace(/[[\](){}"']/g, " ").split(/[\s,;]+/).filter(Boolean);
  const wrong = words.find((word) => !Number.isFinite(Number(word)));
  if (wrong !== undefined) throw new Error(`${wrong} is no number`);
  if (words.length !== dim) throw new Error(`found ${words.length} numbers; the model takes ${dim}`);
  return words.map(Number);
}

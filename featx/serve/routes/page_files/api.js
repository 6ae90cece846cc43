// Requests to the service: its key, its errors, and a little patience when it is busy.
import { byId, show } from "./dom.js";

const KEY = "featx-key";
const PATIENCE = 3;
const LONGEST_PAUSE_S = 5;

/** What an item is called in a request, which holds one here: a person knows which. */
const PLACE = /^(input|examples\[0\]): /;

let key = stored();
let waiting = null;

function stored() {
  try {
    return sessionStorage.getItem(KEY) || "";
  } catch {
    return "";
  }
}

/** What the service answers when it cannot: its status, code and message. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Return the JSON that a path answers.
 *
 * `json` or `body` with its `type` is sent; a key is asked for where one is needed, and a request
 * that is turned away for a moment is sent again.
 */
export async function ask(path, options = {}) {
  for (let tries = 1; ; tries += 1) {
    const used = key;
    const response = await send(path, options);
    if (response.status === 401) {
      await keyOtherThan(used);
      continue;
    }
    const pause_s = Number(response.headers.get("retry-after"));
    if ([429, 503].includes(response.status) && pause_s > 0 && pause_s <= LONGEST_PAUSE_S && tries < PATIENCE) {
      await new Promise((done) => setTimeout(done, 1000 * pause_s));
      continue;
    }
    return answerOf(response);
  }
}

async function send(path, { method = "GET", json, body, type, signal, cache = "no-store" }) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (json !== undefined) headers["content-type"] = "application/json";
  else if (type) headers["content-type"] = type;
  const sent = json === undefined ? body : JSON.stringify(json);
  try {
    return await fetch(path, { method, headers, body: sent, signal, cache });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The service cannot be reached; does it still run?");
  }
}

async function answerOf(response) {
  let answer = null;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok && answer !== null) return answer;
  const told = answer?.error ?? {};
  const message = told.message ?? `The service answered ${response.status} ${response.statusText}`;
  throw new ApiError(response.status, told.code ?? "failed", message.replace(PLACE, ""));
}

/** Return once the key is another than the one that was refused. */
function keyOtherThan(refused) {
  if (key !== refused) return Promise.resolve();
  const form = byId("key");
  show(byId("key-wrong"), refused !== "");
  show(form, true);
  byId("key-text").focus();
  waiting ??= new Promise((given) => {
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        remember(byId("key-text").value.trim());
        byId("key-text").value = "";
        show(form, false);
        waiting = null;
        given();
      },
      { once: true },
    );
  });
  return waiting;
}

function remember(given) {
  key = given;
  try {
    sessionStorage.setItem(KEY, given);
  } catch {
    // Storage is switched off: the key is asked for again on the next visit.
  }
}

/** Let an image show a picture of the service, which may ask for the key. */
export async function showPicture(image, path) {
  if (!key) {
    image.src = path;
    return;
  }
  try {
    const picture = URL.createObjectURL(await pictureOf(path));
    image.addEventListener("load", () => URL.revokeObjectURL(picture), { once: true });
    image.src = picture;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

/** Return a picture of the service as a file. */
export async function pictureOf(path) {
  const response = await send(path, { cache: "default" });
  if (!response.ok) throw new ApiError(response.status, "no_picture", "There is no picture of it");
  return response.blob();
}

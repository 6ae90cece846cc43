// Where an item is given: typed, dropped, pasted, chosen, photographed or recorded.
import { byId, calmly, complain, h, show } from "./dom.js";
import { numbersOf } from "./items.js";
import { canRecord, drawSound, isPlaying, play, record, secondsOf, soundOf, stopPlaying } from "./sound.js";

const TYPING_MS = 300;
const MOST_FILES = 50;

const HINTS = {
  image: "Drop pictures here, paste one, or",
  audio: "Drop sounds here, or",
};

/** Prepare the input for a modality; `given` is called with a list of items, empty where none could be read. */
export function prepareInput(model, given) {
  show(byId("for-text"), model.modality === "text");
  show(byId("for-array"), model.modality === "array");
  show(byId("for-file"), model.modality in HINTS);
  const prepare = { text: prepareText, array: prepareNumbers, image: prepareFiles, audio: prepareFiles };
  prepare[model.modality](model, given);
}

function onEnter(area, form) {
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

function prepareText(model, given) {
  const [form, area, live] = [byId("for-text"), byId("text"), byId("live")];
  const send = () => area.value.trim() && given([{ kind: "text", text: area.value }], { isDraft: false });
  const draft = () => live.checked && area.value.trim() && given([{ kind: "text", text: area.value }], { isDraft: true });
  form.addEventListener("submit", (event) => (event.preventDefault(), area.focus(), send()));
  area.addEventListener("input", calmly(draft, TYPING_MS));
  onEnter(area, form);
  onFiles((files) => files[0] && files[0].text().then((text) => ((area.value = text), send())));
}

function prepareNumbers(model, given) {
  const [form, area] = [byId("for-array"), byId("numbers")];
  byId("numbers-label").textContent = `${model.dim} numbers, with spaces or commas between them`;
  const send = () => {
    try {
      given([{ kind: "array", vector: numbersOf(area.value, model.dim) }]);
    } catch (error) {
      given([]);
      complain(error);
    }
  };
  form.addEventListener("submit", (event) => (event.preventDefault(), area.focus(), send()));
  onEnter(area, form);
  onFiles((files) => files[0] && files[0].text().then((text) => ((area.value = text), send())));
}

function prepareFiles(model, given) {
  const { modality } = model;
  const send = async (files) => {
    if (!files.length) return; // the choice was cancelled
    const read = await Promise.allSettled(files.slice(0, MOST_FILES).map((file) => itemOf(file, modality)));
    read.filter((each) => each.reason).forEach((each) => complain(each.reason));
    const items = read.filter((each) => each.value).map((each) => each.value);
    if (!items.length) hideItem();
    given(items);
  };
  byId("drop-hint").textContent = HINTS[modality];
  const files = byId("file");
  files.accept = modality === "image" ? "image/*" : "audio/*,.flac,.ogg,.opus,.aiff";
  show(byId("picture"), modality === "image" && matchMedia("(pointer: coarse)").matches);
  for (const input of [files, byId("camera")]) {
    input.addEventListener("change", () => {
      send([...input.files]);
      input.value = "";
    });
  }
  onFiles(send);
  if (modality === "audio") prepareRecording(send);
}

function itemOf(file, modality) {
  if (modality === "audio") return soundOf(file);
  return { kind: "image", file, name: file.name, url: URL.createObjectURL(file) };
}

/** Take files that are dropped anywhere on the page, or pasted. */
function onFiles(take) {
  const zone = byId("for-file");
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const enter = (change) => (event) => {
    if (!holdsFiles(event)) return;
    depth += change;
    zone.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", enter(1));
  document.addEventListener("dragleave", enter(-1));
  document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    zone.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}

function prepareRecording(send) {
  const [button, hint] = [byId("record"), byId("record-hint")];
  if (!canRecord()) {
    hint.textContent = "Recording needs https, or a page from this computer itself.";
    show(hint, true);
    return;
  }
  show(button, true);
  let stop = null;
  const level = (loud, seconds) => {
    button.style.setProperty("--level", loud.toFixed(2));
    button.textContent = `Stop (${Math.floor(seconds)} s)`;
  };
  const rest = () => {
    stop = null;
    button.textContent = "Record";
    button.setAttribute("aria-pressed", "false");
  };
  button.addEventListener("click", async () => {
    if (stop) return stop();
    try {
      stop = await record(level, (file) => (rest(), send([file])));
      button.setAttribute("aria-pressed", "true");
    } catch (error) {
      rest();
      const told = error.name === "NotAllowedError" ? "The microphone is not allowed for this page" : `The microphone cannot be used: ${error.message}`;
      complain(new Error(told));
    }
  });
}

/** Show the item that is asked about where it was given. */
export function showItem(item) {
  if (item.kind === "text") {
    if (byId("text").value !== item.text) byId("text").value = item.text;
    return;
  }
  if (item.kind === "array") {
    byId("numbers").value = item.vector.join(", ");
    return;
  }
  const shown = byId("shown");
  show(shown, true);
  const name = h("p", { class: "quiet name" }, item.name);
  if (item.kind === "image") {
    const image = h("img", { src: item.url, alt: "The picture that is asked about" });
    image.addEventListener("error", () => image.remove(), { once: true });
    shown.replaceChildren(image, name);
    return;
  }
  shown.replaceChildren(name);
  showSound(item, shown);
}

function hideItem() {
  stopPlaying();
  show(byId("shown"), false);
  show(byId("play"), false);
}

function showSound(item, shown) {
  const button = byId("play");
  stopPlaying();
  show(button, item.samples !== null);
  if (item.samples === null) return;
  const canvas = h("canvas", { class: "curve", role: "img", "aria-label": "The curve of the sound" });
  shown.prepend(canvas);
  shown.append(h("p", { class: "quiet" }, `${secondsOf(item.samples).toFixed(1)} s`));
  drawSound(canvas, item.samples);
  const rest = () => (button.textContent = "Play");
  button.onclick = () => {
    if (isPlaying()) return stopPlaying();
    play(item.samples, rest);
    button.textContent = "Stop";
  };
}

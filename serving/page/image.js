/** The image field: a file input that also accepts files dropped or pasted anywhere on the page. */

import { announce, byId, Held, show } from "./dom.js";
import { setFieldError } from "./problem.js";

const TYPES = ["image/png", "image/jpeg", "image/webp"];
const USUAL_LIMIT = 32 << 20; // bytes, if the server does not send its own
const ID = "input_reference";

const preview = new Held();
let chosen = null;
let largest = USUAL_LIMIT;

export const image = () => chosen;

/** Set the largest file that the server accepts, in bytes. */
export function setLargest(bytes) {
  largest = bytes ?? USUAL_LIMIT;
}

export function clearImage() {
  chosen = null;
  preview.release();
  byId("preview").removeAttribute("src");
  byId(ID).value = "";
  paint();
}

/** Choose a file; resolves to whether it is an image that can be sent. */
export async function chooseImage(file) {
  const refusal = wrong(file) || (await unreadable(file));
  if (refusal) {
    byId(ID).value = "";
    setFieldError(ID, refusal);
    return false;
  }
  chosen = file;
  setFieldError(ID, "");
  paint();
  announce("Image selected.");
  return true;
}

/** Take files that are chosen, dropped or pasted; the latter two anywhere, if `accepts()`. */
export function watchImage(accepts) {
  const input = byId(ID);
  input.addEventListener("change", () => input.files.length && chooseImage(input.files[0]));
  byId("remove-image").addEventListener("click", () => {
    clearImage();
    input.focus();
  });
  document.addEventListener("paste", (event) => takeFrom(event.clipboardData, event, accepts));
  document.addEventListener("dragover", (event) => drag(event, true));
  document.addEventListener("dragleave", (event) => drag(event, event.relatedTarget !== null));
  document.addEventListener("drop", (event) => {
    drag(event, false);
    takeFrom(event.dataTransfer, event, accepts);
  });
}

function drag(event, over) {
  if (!event.dataTransfer?.types.includes("Files")) return; // a dragged text belongs to the text fields
  event.preventDefault();
  byId("drop").classList.toggle("over", over);
}

function takeFrom(transfer, event, accepts) {
  const file = transfer?.files[0];
  if (!file) return;
  event.preventDefault();
  if (accepts()) chooseImage(file);
}

function wrong(file) {
  const name = file.name || "This file";
  if (!TYPES.includes(file.type)) return `${name} is not a PNG, JPEG or WebP image. Choose another one.`;
  if (file.size > largest) {
    return `${name} has ${megabytes(file.size)}; the server accepts up to ${megabytes(largest)}. Choose a smaller one.`;
  }
  return "";
}

async function unreadable(file) {
  const shown = byId("preview");
  const before = chosen;
  shown.src = preview.hold(file);
  try {
    await shown.decode();
    return "";
  } catch {
    if (before) shown.src = preview.hold(before);
    else clearImage();
    return `${file.name || "This file"} cannot be read as an image. Choose another one.`;
  }
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function paint() {
  const shown = byId("preview");
  show(shown, chosen !== null);
  show(byId("invite"), chosen === null);
  show(byId("chosen"), chosen !== null);
  show(byId("replace"), chosen !== null);
  show(byId("input_reference-hint"), chosen === null);
  if (!chosen) return;
  byId("image-name").textContent = `${chosen.name || "image"}, ${shown.naturalWidth} × ${shown.naturalHeight}`;
}

/** The form of a new video: the model's limits and defaults, checks, errors next to their fields. */

import { byId, element, grow, secondsText, setShape, show, unfold } from "./dom.js";
import { image, setLargest } from "./image.js";
import { clearProblem, setFieldError, showProblem } from "./problem.js";

const NUMBERS = ["num_inference_steps", "guidance_scale", "num_frames", "fps", "motion_level"];
const WORDS = ["prompt", "negative_prompt", "seed"];
const FIELDS = ["input_reference", ...WORDS, "model", "size", ...NUMBERS];

const typed = new Map(); // model -> what was in its own fields when another model was chosen

let models = [];
let fieldsOf = null; // the model that the form is for
let lastSeed = null;

/** Fill the form from /v1/models; a field without a choice is hidden. */
export function setModels(found) {
  models = found;
  const before = byId("model").value;
  byId("model").replaceChildren(...found.map(({ id }) => element("option", { value: id }, id)));
  show(byId("model-field"), found.length > 1);
  if (found.some(({ id }) => id === before)) {
    byId("model").value = before; // keeps what the user typed
    showImage();
  } else setModel();
}

const isShown = (id) => !byId(id).closest("[hidden]");

const capabilities = (model = byId("model").value) => models.find(({ id }) => id === model)?.capabilities ?? {};

/** Whether a model takes an image, by default the form's; one that the server does not know counts as if. */
export const takesImage = (model) => capabilities(model).input_reference !== "none";

/** The image to send; one that was chosen for another model stays in its field. */
export const imageToSend = () => (takesImage() ? image() : null);

/** Whether an image may be chosen; a note says why not. */
export function acceptsImage() {
  if (!takesImage()) setNote(`${byId("model").value} makes videos from text alone: leave the picture out.`);
  return takesImage();
}

function showImage() {
  const takes = takesImage();
  byId("tagline").textContent = `${takes ? "An image and a" : "A"} sentence in, a video out.`;
  for (const id of ["input_reference-field", "seed-image"]) show(byId(id), takes);
}

function setModel() {
  if (fieldsOf) typed.set(fieldsOf, values());
  fieldsOf = byId("model").value;
  setNote("");
  showImage();
  const can = capabilities();
  const sizes = can.sizes ?? [];
  byId("size").replaceChildren(...sizes.map((size) => element("option", { value: size }, size.replace("x", " × "))));
  show(byId("size-field"), sizes.length > 1);
  setLargest(can.max_image_bytes);
  limit("num_inference_steps", [1, can.max_inference_steps]);
  limit("guidance_scale", [0, can.max_guidance_scale]);
  limit("num_frames", [1, can.max_frames]);
  limit("fps", can.fps ?? []);
  limit("motion_level", can.motion_level ?? []);
  setNumbers();
  const before = typed.get(fieldsOf) ?? {};
  for (const id of ["size", ...NUMBERS]) byId(id).value = before[id] ?? byId(id).value;
  showShape();
}

function limit(id, [least, most]) {
  Object.assign(byId(id), { min: least ?? "", max: most ?? "" });
  show(byId(`${id}-field`), least !== most);
}

function setNumbers() {
  const own = capabilities().default ?? {};
  for (const id of NUMBERS) byId(id).value = own[id] ?? "";
  showShape();
}

function setDefaults() {
  byId("size").selectedIndex = 0;
  byId("negative_prompt").value = "";
  byId("seed").value = "";
  setNumbers();
}

function showShape() {
  if (byId("size").value) setShape(document.body, byId("size").value); // show the image as the model will see it
  const length = byId("num_frames").value / byId("fps").value;
  byId("length").textContent = Number.isFinite(length) && length > 0 ? `The video lasts ${secondsText(length)}.` : "";
  byId("motion_level-value").textContent = byId("motion_level").value;
}

/** Remember a seed, to offer it again. */
export function offerSeed(seed) {
  if (seed === null || seed === undefined) return;
  lastSeed = String(seed);
  byId("last-seed").textContent = `Use the last one, ${lastSeed}`;
  show(byId("last-seed"), true);
}

/** What is in the fields, by the parameters' names; a slider has a value even if the model does not take it. */
export function values() {
  const ids = [...WORDS, "model", "size", ...NUMBERS].filter((id) => id !== "motion_level" || isShown(id));
  return Object.fromEntries(ids.map((id) => [id, byId(id).value.trim()]));
}

/** Put what a job was made of into the fields. */
export function fill(job) {
  if (job.model !== byId("model").value && models.some(({ id }) => id === job.model)) {
    byId("model").value = job.model;
    setModel();
  }
  for (const id of [...WORDS, "size", ...NUMBERS]) byId(id).value = job[id] ?? byId(id).value;
  byId("advanced").open = true;
  unfold();
  grow(byId("prompt"));
  showShape();
}

/** Put the prompt of a job into the form if its field is empty. */
export function offerPrompt(prompt) {
  if (!byId("prompt").value) byId("prompt").value = prompt ?? "";
  grow(byId("prompt"));
}

/** Show a note about the form until it is sent. */
export function setNote(text) {
  byId("form-note").textContent = text;
  show(byId("form-note"), Boolean(text));
}

/** The form data to send; the server fills in empty fields. */
export function body() {
  const data = new FormData();
  for (const [name, value] of Object.entries(values())) if (value) data.append(name, value);
  const file = imageToSend();
  if (file) data.append("input_reference", file, file.name || "image");
  return data;
}

/** Check the form before sending; the first invalid field gets the focus. */
export function check() {
  clearErrors();
  setNote("");
  const need = capabilities().input_reference ?? "required";
  if (need === "required" && !image()) setFieldError("input_reference", "Choose an image.");
  if (!byId("prompt").value.trim()) setFieldError("prompt", "Write a prompt.");
  if (!/^\d*$/.test(byId("seed").value.trim())) {
    setFieldError("seed", "Give a whole number, or leave it empty for a random one.");
  }
  for (const id of NUMBERS) {
    if (isShown(id) && !byId(id).validity.valid) setFieldError(id, rule(byId(id)));
  }
  return !focusFirstError();
}

function rule({ min, max, step }) {
  const kind = step === "1" ? "a whole number" : "a number";
  if (min && max) return `Give ${kind} from ${min} to ${max}.`;
  return min ? `Give ${kind} of at least ${min}.` : `Give ${kind}.`;
}

/** Show a server error next to its field, or above the button with a retry button. */
export function showError(error, retry) {
  unfold();
  const id = fieldOf(error);
  if (FIELDS.includes(id) && isShown(id)) {
    setFieldError(id, error.message);
    focusFirstError();
  } else {
    showProblem(byId("form-problem"), error, retry);
  }
}

function fieldOf({ status, param }) {
  if (status === 413) return "input_reference";
  return param === "seconds" ? "num_frames" : param;
}

export function clearErrors() {
  clearProblem(byId("form-problem"));
  for (const id of FIELDS) setFieldError(id, "");
}

function focusFirstError() {
  const first = byId("form").querySelector("[aria-invalid]");
  if (!first) return false;
  unfold();
  const folded = first.closest("details");
  if (folded) folded.open = true;
  first.focus();
  return true;
}

export function watchForm() {
  byId("model").addEventListener("change", setModel);
  byId("unfold").addEventListener("click", () => {
    unfold();
    byId("prompt").focus();
  });
  byId("reset").addEventListener("click", setDefaults);
  byId("last-seed").addEventListener("click", () => {
    byId("seed").value = lastSeed;
    byId("seed").focus();
  });
  byId("form").addEventListener("input", ({ target }) => {
    if (target.hasAttribute("aria-invalid") && target.id !== "input_reference") setFieldError(target.id, "");
    showShape();
  });
  for (const id of ["prompt", "remix-prompt"]) {
    byId(id).addEventListener("keydown", submitOnControlEnter);
    byId(id).addEventListener("input", () => grow(byId(id)));
  }
}

function submitOnControlEnter(event) {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}


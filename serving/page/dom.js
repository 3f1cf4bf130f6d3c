/** Small DOM helpers. Text from outside is only inserted as text, never as markup. */

export const byId = (id) => document.getElementById(id);

/** A new element with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function show(node, visible) {
  node.hidden = !visible;
}

/** Give an element's pictures the aspect ratio of a video, "WIDTHxHEIGHT". */
export function setShape(node, size) {
  node.style.setProperty("--shape", size.replace("x", " / "));
}

/** Show a job first: on a phone it then precedes the form, which is folded. */
export function setWatching(watching) {
  document.body.classList.toggle("watching", watching);
  if (watching) document.body.classList.remove("unfolded");
}

/** Open the folded form. */
export function unfold() {
  document.body.classList.add("unfolded");
}

/** Let a text field grow with its text if the browser does not do so itself. */
export function grow(field) {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

/** Announce something to screen readers. */
export function announce(text) {
  byId("live").textContent = text;
}

/** Ask for confirmation; resolves to true or false. */
export function ask(text, verb) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = verb;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** The object URL of an image, video or link; holding a new one revokes the last. */
export class Held {
  #url = null;

  hold(blob) {
    this.release();
    this.#url = URL.createObjectURL(blob);
    return this.#url;
  }

  release() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}

/** "1.5 s", "75 s": seconds with few digits. */
export function secondsText(seconds) {
  return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
}

/** A server time, in seconds since 1970, in the user's format. */
export function timeText(seconds) {
  return new Date(seconds * 1000).toLocaleString([], {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}

/** Error messages in an alert region or next to a field, with a retry button. */

import { byId, element, show } from "./dom.js";

const countdowns = new Map(); // region -> timer

export function clearProblem(region) {
  clearInterval(countdowns.get(region));
  region.replaceChildren();
  show(region, false);
}

/** Show an error in an alert region; for a busy server, `retry` is offered after the delay that it asks for. */
export function showProblem(region, error, retry) {
  clearProblem(region);
  region.append(element("p", {}, error.message));
  if (retry && [0, 429, 503].includes(error.status)) addRetry(region, error.retryAfter ?? 0, retry);
  show(region, true);
}

function addRetry(region, seconds, retry) {
  const button = element("button", { type: "button" });
  let left = Math.ceil(seconds);
  const tick = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left-- <= 0) clearInterval(countdowns.get(region));
  };
  countdowns.set(region, setInterval(tick, 1000));
  tick();
  button.addEventListener("click", retry);
  region.append(button);
}

/** Set the error next to a field; an empty message clears it. The field's id is the parameter's name. */
export function setFieldError(id, message) {
  const text = byId(`${id}-error`);
  text.textContent = message;
  show(text, Boolean(message));
  if (message) byId(id).setAttribute("aria-invalid", "true");
  else byId(id).removeAttribute("aria-invalid");
}

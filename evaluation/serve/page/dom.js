/** Small DOM helpers. Text from outside is only inserted as text, never as markup. */

export const byId = (id) => document.getElementById(id);

export function show(node, visible) {
  node.hidden = !visible;
}

/** Show one of the three parts of the page, from its top. */
export function showPart(name) {
  for (const part of ["welcome", "task", "end"]) show(byId(part), part === name);
  scrollTo(0, 0);
}

/** Announce something to screen readers. */
export function announce(text) {
  byId("live").textContent = text;
}

let countdown = null;

export function clearProblem() {
  clearInterval(countdown);
  byId("problem").replaceChildren();
  show(byId("problem"), false);
}

/** Show an error on top of the page; `retry` is offered as a button, and tried after `seconds` by itself. */
export function showProblem(message, retry = null, seconds = 0) {
  clearProblem();
  const text = document.createElement("p");
  text.textContent = message;
  byId("problem").append(text);
  if (retry) byId("problem").append(retryButton(retry, seconds));
  show(byId("problem"), true);
  byId("problem").scrollIntoView({ block: "nearest" });
}

function retryButton(retry, seconds) {
  const button = document.createElement("button");
  button.type = "button";
  let left = Math.ceil(seconds);
  const again = () => {
    clearProblem();
    retry();
  };
  const tick = () => {
    button.textContent = seconds ? `Try again (by itself in ${left} s)` : "Try again";
    if (seconds && left-- <= 0) again();
  };
  button.addEventListener("click", again);
  tick();
  if (seconds) countdown = setInterval(tick, 1000);
  return button;
}

/** A pair of videos: what may be answered when, and the answer. The server checks all of it again. */

import * as api from "./api.js";
import { announce, byId, clearProblem, show, showPart, showProblem } from "./dom.js";
import { Player } from "./player.js";

const REASONS = ["motion", "text", "image", "quality"];
const RETRY_S = 5;
const GONE = ["task_lost", "already_answered", "unknown_task", "excluded", "unknown_rater"];

const left = new Player("left", render, loadingFailed);
const right = new Player("right", render, loadingFailed);
const sides = { left, right };

let task = null;
let received = 0; // by the clock of performance.now()
let notBefore = 0; // seconds of the task, if the server wants more than we know of
let choice = null;
let reasons = new Set();
let sending = false;
let phase = "";
let finished = () => {};

/** Show a task; `then` is called when it is over. */
export function showTask(session, then) {
  task = session.task;
  received = performance.now();
  [notBefore, choice, reasons, sending, phase, finished] = [0, null, new Set(), false, "", then];
  byId("number").textContent = session.done + 1;
  byId("total").textContent = session.total;
  byId("progress").max = session.total;
  byId("progress").value = session.done;
  byId("prompt").textContent = task.prompt;
  show(byId("image-figure"), Boolean(task.image));
  if (task.image) byId("image").src = task.image;
  else byId("image").removeAttribute("src");
  show(byId("reason-image"), Boolean(task.image));
  offered().forEach((name, at) => {
    byId(`reason-${name}`).querySelector("kbd").textContent = at + 1;
  });
  left.load(task.left);
  right.load(task.right);
  showPart("task");
  byId("task-title").focus();
  render();
}

const offered = () => REASONS.filter((name) => !byId(`reason-${name}`).hidden);
const elapsed = () => task.elapsed + (performance.now() - received) / 1000;
const seconds = (until) => Math.max(1, Math.ceil(until - elapsed()));
const watched = () => left.watched && right.watched;
const mayChoose = () => watched() && elapsed() >= task.lock_seconds && !sending;

/** What is still to be done, as a phase and a sentence; both empty if the answer can be sent. */
function missing() {
  const least = Math.max(task.least_seconds, notBefore);
  if (!watched()) return ["watch", "Watch both videos to the end."];
  if (elapsed() < task.lock_seconds) return ["locked", `You can choose in ${seconds(task.lock_seconds)} s.`];
  if (!choice) return ["choose", "Choose the better video."];
  if (!reasons.size) return ["reason", "Give at least one reason."];
  if (elapsed() < least) return ["early", `You can go on in ${seconds(least)} s. Watch them again if you like.`];
  return ["", ""];
}

const ready = () => Boolean(task) && !sending && missing()[0] === "";

function render() {
  if (!task) return;
  const [now, text] = missing();
  for (const side of ["left", "right"]) {
    byId(`choose-${side}`).disabled = !mayChoose();
    byId(`choose-${side}`).setAttribute("aria-pressed", String(choice === side));
    byId(`${side}-side`).classList.toggle("chosen", choice === side);
  }
  for (const name of REASONS) {
    byId(`reason-${name}`).disabled = !choice || sending;
    byId(`reason-${name}`).setAttribute("aria-pressed", String(reasons.has(name)));
  }
  byId("hint").textContent = sending ? "Sending your answer." : text;
  byId("send").disabled = !ready();
  if (now !== phase) announce(now === "" ? "You can go on to the next pair." : text);
  phase = now;
}

function choose(side) {
  if (!mayChoose()) return;
  choice = side;
  render();
}

function toggleReason(name) {
  if (!choice || sending) return;
  if (!reasons.delete(name)) reasons.add(name);
  render();
}

function playBoth() {
  if (left.playing || right.playing) {
    left.pause();
    right.pause();
  } else {
    left.restart();
    right.restart();
  }
}

async function send() {
  if (!ready()) return;
  sending = true;
  clearProblem();
  render();
  try {
    await api.vote(task.id, { choice, reasons: [...reasons], watched: ["left", "right"] });
    end();
  } catch (error) {
    sending = false;
    refused(error);
  }
}

function refused(error) {
  if (error.code === "too_early") notBefore = elapsed() + (error.retryAfter ?? 1);
  else if (error.passing) {
    showProblem(`${error.message} Your answer is kept here and sent again.`, send, error.retryAfter ?? RETRY_S);
  } else if (GONE.includes(error.code)) {
    end();
    showProblem(error.message);
    return;
  } else showProblem(error.message);
  render();
}

function end() {
  task = null;
  left.pause();
  right.pause();
  finished();
}

function loadingFailed(player) {
  if (!task) return;
  showProblem(`The ${player.side} video could not be loaded.`, () => player.reload(), RETRY_S);
}

function pressed(event) {
  if (!task || byId("help-dialog").open || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = event.target.closest("button");
  const act = {
    ArrowLeft: () => choose("left"),
    ArrowRight: () => choose("right"),
    " ": button ? null : playBoth,
    Enter: ready() && !event.repeat && !button?.matches(".play, .quiet") ? send : null,
  }[event.key];
  const reason = offered()[Number(event.key) - 1];
  if (act) act();
  else if (reason) toggleReason(reason);
  else return;
  event.preventDefault();
}

/** Listen to buttons and keys. */
export function watchTask() {
  for (const side of Object.keys(sides)) byId(`choose-${side}`).addEventListener("click", () => choose(side));
  for (const name of REASONS) byId(`reason-${name}`).addEventListener("click", () => toggleReason(name));
  byId("both").addEventListener("click", playBoth);
  byId("send").addEventListener("click", send);
  document.addEventListener("keydown", pressed);
  setInterval(render, 250);
}

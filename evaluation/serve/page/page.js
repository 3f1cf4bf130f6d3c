/** The way of a rater: instructions and consent, one task after the other, a code at the end. */

import * as api from "./api.js";
import { byId, clearProblem, show, showPart, showProblem } from "./dom.js";
import { showTask, watchTask } from "./task.js";

const RETRY_S = 5;
const IDS = ["PROLIFIC_PID", "STUDY_ID", "SESSION_ID", "workerId", "assignmentId", "hitId"];
const given = new URLSearchParams(location.search);
const ids = Object.fromEntries(IDS.filter((name) => given.has(name)).map((name) => [name, given.get(name)]));

async function start() {
  try {
    const about = await api.study();
    const minutes = Math.max(1, Math.round((about.tasks * Math.max(about.least_seconds, 20) * 1.1) / 60));
    byId("about-tasks").textContent = about.tasks;
    byId("about-minutes").textContent = `about ${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
    const platform = { prolific: "Prolific", mturk: "Mechanical Turk" }[about.platform];
    if (platform) byId("about-identity").textContent = `your id on ${platform}`;
    byId("about-contact").textContent = `Questions? ${about.contact}`;
    show(byId("about-contact"), Boolean(about.contact));
    await go();
  } catch (error) {
    failed(error, start);
  }
}

/** Go to where this rater is. A problem that is shown stays if it is about the last task. */
async function go() {
  try {
    const session = await api.next(ids);
    if (session.status === "new") welcome(session.notice);
    else if (session.status === "task") ask(session);
    else end(session);
  } catch (error) {
    failed(error, go);
  }
}

function failed(error, retry) {
  showProblem(error.message, retry, error.passing ? (error.retryAfter ?? RETRY_S) : 0);
}

function welcome(notice) {
  showPart("welcome");
  byId("welcome").insertBefore(byId("guide"), byId("welcome").querySelector(".consent"));
  if (notice) showProblem(notice);
  byId("agree").disabled = Boolean(notice);
}

function ask(session) {
  byId("help-dialog").append(byId("guide"));
  showTask(session, go);
}

async function begin() {
  byId("begin").disabled = true;
  clearProblem();
  try {
    await api.begin(ids);
    await go();
  } catch (error) {
    failed(error, begin);
    byId("begin").disabled = !byId("agree").checked;
  }
}

const KEEP = "The code below shows that you took part: use it where you were told to, then close this page.";
const ENDS = {
  complete: ["Thank you!", "All your answers are stored."],
  excluded: [
    "Thank you for taking part",
    "Your part in this study has ended: too many of your answers to the pairs with a known answer were different. " +
      "What you have answered is stored; nothing more is asked of you.",
  ],
  full: ["Nothing is left to judge", "All pairs are taken at the moment. Thank you for your interest."],
};

function end(session) {
  const [title, text] = ENDS[session.status];
  byId("end-title").textContent = title;
  const code = session.code ?? "";
  byId("end-text").textContent = code && !session.return_url ? `${text} ${KEEP}` : text;
  byId("code").textContent = code;
  show(byId("end-code"), Boolean(code));
  show(byId("return"), Boolean(session.return_url));
  if (session.return_url) byId("return").href = session.return_url;
  offerTurk(code);
  showPart("end");
  byId("end-title").focus();
}

/** In a frame on Mechanical Turk, the code is sent there by a form. */
function offerTurk(code) {
  const host = /^https:\/\/[a-z]+\.mturk\.com(?=\/|$)/.exec(given.get("turkSubmitTo") ?? "");
  show(byId("turk"), Boolean(code && host));
  if (host) byId("turk").action = `${host[0]}/mturk/externalSubmit`;
  byId("turk-assignment").value = ids.assignmentId ?? "";
  byId("turk-code").value = code;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("code").textContent);
    byId("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("code")); // without TLS, browsers give no clipboard
  }
}

byId("agree").addEventListener("change", () => {
  byId("begin").disabled = !byId("agree").checked;
});
byId("begin").addEventListener("click", begin);
byId("copy").addEventListener("click", copy);
byId("help").addEventListener("click", () => byId("help-dialog").showModal());
watchTask();
start();

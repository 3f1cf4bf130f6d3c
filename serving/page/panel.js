/** The panel of one job: its progress while it runs, then its video. */

import { ApiError, content } from "./api.js";
import { announce, byId, element, Held, secondsText, setShape, show, timeText } from "./dom.js";
import { clearProblem, showProblem } from "./problem.js";

const still = new Held();
const video = new Held();
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const PARTS = [
  ...["still", "video", "running", "lost", "job-prompt"],
  ...["facts", "warnings", "actions", "remix-form", "download"],
];
const MAKING = "The video is being generated.";
const STAGES = { encoding: "Preparing", denoising: "Generating", decoding: "Writing the video" };

let started = 0;
let ticking = null;
let told = "";

/** Empty the panel and show a note. */
export function clearPanel(note = "The video appears here.") {
  stopClock();
  byId("video").removeAttribute("src");
  byId("video").load(); // releases the last video
  byId("still").removeAttribute("src");
  still.release();
  video.release();
  clearProblem(byId("panel-problem"));
  byId("empty").textContent = note;
  show(byId("empty"), true);
  for (const id of PARTS) show(byId(id), false);
  byId("remix").setAttribute("aria-expanded", "false");
  byId("remix-prompt").value = "";
  told = "";
  rescueFocus();
}

/** Keep the focus in the panel when the focused button disappears. */
function rescueFocus() {
  const at = document.activeElement;
  if (byId("panel").contains(at) && at.closest("[hidden]")) byId("panel-title").focus();
}

/** Show that the form is being sent; `picture` is the image, if known. */
export function showSending(picture) {
  clearPanel(picture ? "" : MAKING);
  showStill(picture);
  show(byId("running"), true);
  paintProgress(picture ? "Sending the image" : "Sending", 0);
  startClock(Date.now());
}

/** Show a waiting or running job. `since` is its start in ms of this clock. */
export function showRunning(job, picture, since) {
  if (picture && byId("still").hidden) showStill(picture);
  if (!picture && byId("still").hidden) byId("empty").textContent = MAKING;
  if (job.size) setShape(byId("frame"), job.size);
  show(byId("running"), true);
  show(byId("lost"), false);
  showPrompt(job);
  paintProgress(stageText(job), job.status === "queued" ? 0 : job.progress);
  startClock(since);
}

export function showLost() {
  show(byId("lost"), true);
}

/** Show the end of a job: its video, or what went wrong. `ofImage`: it began with an image. */
export async function showEnd(job, ofImage, signal) {
  if (job.size) setShape(byId("frame"), job.size);
  const live = ticking !== null;
  stopClock();
  if (live) document.title = job.status === "completed" ? "Done · motif" : "Failed · motif";
  show(byId("running"), false);
  showPrompt(job);
  showFacts(job);
  showWarnings(job.warnings ?? []);
  show(byId("actions"), true);
  show(byId("remix"), job.status === "completed");
  byId("remix").textContent = ofImage ? "Same image, other prompt" : "Same seed, other prompt";
  byId("remix-label").textContent = ofImage ? "Prompt for the same image and seed" : "Prompt for the same seed";
  rescueFocus();
  if (job.status === "completed") await showVideo(job, signal);
  else showFailure(job);
}

async function showVideo(job, signal) {
  const blob = await content(job.id, "video", signal);
  const player = byId("video");
  const url = video.hold(blob);
  player.autoplay = !calm.matches;
  player.src = url;
  player.setAttribute("aria-label", job.prompt ?? "The video");
  Object.assign(byId("download"), { href: url, download: `motif-${job.id}.mp4` });
  for (const id of ["video", "download"]) show(byId(id), true);
  for (const id of ["still", "empty"]) show(byId(id), false);
  still.release();
  announce("The video is ready.");
}

/** Report when the browser cannot play the video, which is rare with H.264. */
export function watchPanel() {
  byId("video").addEventListener("error", () => {
    if (!byId("video").hasAttribute("src")) return;
    fail("This browser cannot play the video. Download it instead.");
  });
}

const fail = (message) => showProblem(byId("panel-problem"), new ApiError(200, { message }));

function showFailure(job) {
  fail(job.error?.message ?? "The job failed.");
  if (byId("still").hidden) byId("empty").textContent = "There is no video.";
}

function showStill(picture) {
  if (!picture) return;
  byId("still").src = still.hold(picture);
  show(byId("still"), true);
  show(byId("empty"), false);
}

function showPrompt(job) {
  byId("job-prompt").textContent = job.prompt ?? "";
  show(byId("job-prompt"), Boolean(job.prompt));
}

function showFacts(job) {
  const facts = {
    Seed: job.seed,
    Size: job.size?.replace("x", " × "),
    Length: job.seconds && secondsText(Number(job.seconds)),
    Steps: job.num_inference_steps,
    Guidance: job.guidance_scale,
    Motion: job.motion_level,
    Took: job.inference_time_s && secondsText(job.inference_time_s),
    Model: job.model,
    "Kept until": job.expires_at && timeText(job.expires_at),
  };
  const known = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "");
  byId("facts").replaceChildren(
    ...known.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))),
  );
  show(byId("facts"), true);
}

function showWarnings(warnings) {
  byId("warnings").replaceChildren(...warnings.map((warning) => element("li", {}, warning)));
  show(byId("warnings"), warnings.length > 0);
}

function stageText(job) {
  if (job.status === "queued") {
    return job.queue_position ? `Waiting, ${job.queue_position} ahead` : "Waiting, next in the queue";
  }
  return STAGES[job.stage] ?? "Working";
}

/** Show every step, but announce only stages and quarters: screen readers would read every step out. */
function paintProgress(stage, percent) {
  byId("stage").textContent = percent > 0 ? `${stage}, ${percent} %` : stage;
  byId("progress").value = percent;
  document.title = percent > 0 ? `${percent} % · motif` : `${stage} · motif`;
  const tell = percent >= 25 ? `${stage}, ${percent - (percent % 25)} percent` : stage;
  if (tell !== told) announce(tell);
  told = tell;
}

function startClock(since) {
  started = since;
  tick();
  ticking ??= setInterval(tick, 1000);
}

function tick() {
  byId("elapsed").textContent = `${Math.max(0, Math.round((Date.now() - started) / 1000))} s`;
}

function stopClock() {
  clearInterval(ticking);
  ticking = null;
  document.title = "motif";
}

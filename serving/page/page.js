/** The page as a whole: a form, a panel with one job, the list of all jobs. The open job is the one in the address. */

import * as api from "./api.js";
import { announce, ask, byId, grow, setWatching, show } from "./dom.js";
import { follow, isActive } from "./follow.js";
import * as form from "./form.js";
import * as history from "./history.js";
import { chooseImage, image, watchImage } from "./image.js";
import * as images from "./kept.js";
import { watchKey } from "./key.js";
import * as panel from "./panel.js";
import { clearProblem, setFieldError, showProblem } from "./problem.js";

const CANCELLED = "Cancelled.";

const made = new Map(); // id -> {file, since} of jobs that this page has sent
let current = null; // {job, abort} in the panel
let sending = null; // {abort} while a form is on its way
let attempt = null; // a sent form without a response: it may or may not have arrived

async function start() {
  try {
    const [models, jobs] = await Promise.all([api.models(), history.refresh()]);
    form.setModels(models);
    form.offerSeed(jobs[0]?.seed);
    images.forgetOthers(jobs.filter(isActive).map(({ id }) => id));
    const active = jobs.find(isActive);
    if (!openId() && active) window.history.replaceState(null, "", `#${active.id}`);
    await openFromAddress();
  } catch (error) {
    if (error.status !== 401) form.showError(error, startAgain);
  }
}

function startAgain() {
  form.clearErrors();
  start();
}

const openId = () => location.hash.slice(1);

async function openFromAddress() {
  const id = openId();
  if (id === current?.job?.id && current.running) return;
  close();
  if (!id) return;
  try {
    const job = history.jobOf(id) ?? (await api.video(id)).job;
    if (openId() === id) await open(job);
  } catch (error) {
    if (error.status === 404) leave("This video no longer exists.");
    else showProblem(byId("panel-problem"), error, openFromAddress);
  }
}

function close() {
  current?.abort.abort();
  current = null;
  setWatching(false);
  panel.clearPanel();
}

/** Empty the panel and the address. */
function leave(note) {
  close();
  panel.clearPanel(note);
  window.history.replaceState(null, "", location.pathname + location.search);
  history.markOpen(null);
  announce(note);
}

async function open(job) {
  const mine = { job, abort: new AbortController(), running: true };
  current = mine;
  setWatching(true);
  history.markOpen(job.id);
  try {
    if (isActive(job) && !made.has(job.id)) await recall(job);
    if (mine !== current) return;
    const last = isActive(job) ? await followShown(mine) : job;
    if (mine !== current) return;
    if (last === null) {
      deleted(job.id, CANCELLED);
      return;
    }
    images.forget(job.id);
    form.offerSeed(last.seed);
    await panel.showEnd(last, form.takesImage(last.model), mine.abort.signal);
  } catch (error) {
    if (!mine.abort.signal.aborted) showProblem(byId("panel-problem"), error, () => openFromAddress());
  } finally {
    mine.running = false;
  }
}

/** After a reload: put the image, if any, and the prompt of a running job back into the form. */
async function recall(job) {
  const file = await images.kept(job.id);
  if (!file && form.takesImage(job.model)) return;
  made.set(job.id, { file, since: job.created_at * 1000 });
  if (file && (image() || !(await chooseImage(file)))) return;
  form.offerPrompt(job.prompt);
}

function followShown(mine) {
  const { file, since } = made.get(mine.job.id) ?? {};
  const onUpdate = (job) => {
    mine.job = job;
    history.putJob(job);
    if (isActive(job)) panel.showRunning(job, file, since ?? job.created_at * 1000);
  };
  onUpdate(mine.job);
  return follow(mine.job.id, { onUpdate, onLost: panel.showLost }, mine.abort.signal);
}

function deleted(id, note) {
  history.dropJob(id);
  images.forget(id);
  if (openId() === id) leave(note);
}

async function submit() {
  if (sending || !form.check()) return;
  const file = form.imageToSend();
  const since = Date.now();
  sending = new AbortController();
  close();
  setWatching(true);
  panel.showSending(file);
  byId("panel").scrollIntoView({ block: "nearest" });
  try {
    const job = await api.create(form.body(), onceKey(form.values(), file), sending.signal);
    attempt = null;
    started(job, { file, since });
  } catch (error) {
    if (error.status) attempt = null;
    openFromAddress(); // what was there before
    if (sending.signal.aborted) announce(CANCELLED);
    else form.showError(error, submitAgain);
  } finally {
    sending = null;
  }
}

function submitAgain() {
  byId("generate").focus();
  submit();
}

/** The idempotency key of a form, so that sending it twice creates one job. crypto.randomUUID needs TLS. */
function onceKey(values, file) {
  const text = JSON.stringify(values);
  if (attempt?.text !== text || attempt.file !== file) {
    attempt = { text, file, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
  }
  return attempt.key;
}

function started(job, facts) {
  made.set(job.id, facts);
  if (facts.file) images.keep(job.id, facts.file);
  history.putJob(job);
  if (openId() === job.id) openFromAddress();
  else location.hash = job.id; // opens it
}

async function remix() {
  const { job } = current;
  const prompt = byId("remix-prompt").value.trim();
  setFieldError("remix-prompt", prompt ? "" : "Write a prompt.");
  if (!prompt) {
    byId("remix-prompt").focus();
    return;
  }
  clearProblem(byId("panel-problem"));
  try {
    const next = await api.remix(job.id, prompt);
    const facts = made.get(job.id);
    started(next, { file: facts?.file, since: Date.now() });
  } catch (error) {
    if (error.param === "prompt") setFieldError("remix-prompt", error.message);
    else showProblem(byId("panel-problem"), error, remix);
  }
}

function toggleRemix() {
  const opened = byId("remix-form").hidden;
  show(byId("remix-form"), opened);
  byId("remix").setAttribute("aria-expanded", String(opened));
  if (!opened) return;
  byId("remix-prompt").value = current.job.prompt ?? "";
  grow(byId("remix-prompt"));
  byId("remix-prompt").select();
}

async function repeat() {
  const { job } = current;
  const file = made.get(job.id)?.file;
  form.clearErrors();
  form.fill(job);
  if (file) await chooseImage(file);
  const lost = !file && form.takesImage();
  const rest = lost ? " The image is no longer available: choose the same one." : "";
  form.setNote(`The form has the settings of this video.${rest}`);
  byId(lost ? "input_reference" : "generate").focus();
}

async function cancel() {
  if (sending) {
    sending.abort();
    return;
  }
  await removeJob(current.job, CANCELLED);
}

async function deleteJob(job) {
  const question = isActive(job) ? "Cancel this job?" : "Delete this video? This cannot be undone.";
  if (await ask(question, isActive(job) ? "Cancel the job" : "Delete")) await removeJob(job, "Deleted.");
}

async function removeJob(job, note) {
  try {
    await api.remove(job.id);
    deleted(job.id, note);
  } catch (error) {
    if (error.status === 404) deleted(job.id, note);
    else showProblem(byId("panel-problem"), error, () => removeJob(job, note));
  }
}

function on(id, type, act) {
  byId(id).addEventListener(type, (event) => {
    event.preventDefault();
    act();
  });
}

watchKey(startAgain);
watchImage(form.acceptsImage);
form.watchForm();
panel.watchPanel();
history.watchHistory(deleteJob);
on("form", "submit", submit);
on("remix-form", "submit", remix);
on("remix", "click", toggleRemix);
on("repeat", "click", repeat);
on("remove-job", "click", () => deleteJob(current.job));
on("cancel", "click", cancel);
window.addEventListener("hashchange", openFromAddress);
start();

/** The list of jobs: thumbnails, status, opening and deleting. */

import { content, list } from "./api.js";
import { byId, element, Held, show, timeText } from "./dom.js";
import { isActive } from "./follow.js";

const PAGE = 12;
const MOST = 100; // the server's largest page
const REFRESH_MS = 3000;

const rows = new Map(); // id -> {job, item, thumbnail}
const dropped = new Set(); // deleted ids: a response may be older than the deletion
let jobs = [];
let waiting = null;
let onDelete = () => {};

/** Set what happens when the user asks to delete a job. */
export function watchHistory(deleteJob) {
  onDelete = deleteJob;
  byId("more").addEventListener("click", more);
  document.addEventListener("visibilitychange", () => !document.hidden && jobs.length && refreshQuietly());
}

export const jobOf = (id) => jobs.find((job) => job.id === id);

/** Reload the part of the list that is shown. */
export async function refresh() {
  clearTimeout(waiting);
  const length = Math.min(MOST, Math.max(PAGE, jobs.length));
  const page = await list(length);
  const fresh = new Set(page.data.map(({ id }) => id));
  const older = page.has_more ? jobs.slice(length).filter(({ id }) => !fresh.has(id)) : [];
  jobs = [...page.data, ...older].filter(({ id }) => !dropped.has(id));
  if (!older.length) show(byId("more"), page.has_more);
  paint();
  return jobs;
}

async function more() {
  try {
    append(await list(PAGE, jobs.at(-1).id));
  } catch (error) {
    setNote(error.message);
  }
}

function append(page) {
  const known = new Set(jobs.map(({ id }) => id));
  const added = page.data.filter(({ id }) => !known.has(id));
  jobs = [...jobs, ...added];
  show(byId("more"), page.has_more);
  paint();
  rows.get(added[0]?.id)?.item.querySelector("a").focus();
}

/** Add a new job to the list, or update a changed one. */
export function putJob(job) {
  const at = jobs.findIndex(({ id }) => id === job.id);
  if (dropped.has(job.id)) return;
  if (at < 0) jobs = [job, ...jobs];
  else jobs[at] = job;
  paint();
}

/** Remove a job from the list; the focus moves to the next one. */
export function dropJob(id) {
  dropped.add(id);
  const at = jobs.findIndex((job) => job.id === id);
  if (at < 0) return;
  const hadFocus = rows.get(id)?.item.contains(document.activeElement);
  jobs.splice(at, 1);
  paint();
  const next = rows.get(jobs[Math.min(at, jobs.length - 1)]?.id);
  if (hadFocus) (next?.item.querySelector("a") ?? byId("history-title")).focus();
}

export function markOpen(id) {
  for (const [key, { item }] of rows) {
    const link = item.querySelector("a");
    if (key === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function paint() {
  const shown = new Set(jobs.map(({ id }) => id));
  for (const [id, row] of rows) if (!shown.has(id)) discard(id, row);
  jobs.forEach((job, index) => {
    const row = rows.get(job.id) ?? addRow(job);
    update(row, job);
    const there = byId("history").children[index];
    if (there !== row.item) byId("history").insertBefore(row.item, there ?? null); // moving a row would lose its focus
  });
  setNote(jobs.length ? "" : "Nothing yet.");
  clearTimeout(waiting);
  if (jobs.some(isActive)) waiting = setTimeout(refreshQuietly, REFRESH_MS);
}

function setNote(text) {
  byId("history-note").textContent = text;
  show(byId("history-note"), Boolean(text));
}

/** Jobs other than the open one are polled together: a browser has only six connections for streams. */
async function refreshQuietly() {
  if (document.hidden) return;
  await refresh().catch(() => {
    waiting = setTimeout(refreshQuietly, 3 * REFRESH_MS); // the panel shows lost connections
  });
}

function discard(id, row) {
  row.picture.release();
  row.item.remove();
  rows.delete(id);
}

function addRow(job) {
  const thumbnail = element("img", { alt: "" });
  const badge = element("span");
  const when = element("time", { datetime: new Date(job.created_at * 1000).toISOString() }, timeText(job.created_at));
  const link = element(
    "a",
    { href: `#${job.id}` },
    element("span", { class: "thumb" }, thumbnail),
    element("span", { class: "words" }, job.prompt ?? ""),
    element("span", { class: "meta" }, badge, when),
  );
  const name = `Delete: ${job.prompt ?? job.id}`;
  const button = element("button", { type: "button", class: "quiet faint", "aria-label": name }, "Delete");
  button.addEventListener("click", () => onDelete(jobOf(job.id)));
  const row = { item: element("li", {}, link, button), thumbnail, badge, picture: new Held(), asked: false };
  show(thumbnail, false);
  rows.set(job.id, row);
  return row;
}

function update(row, job) {
  row.badge.textContent = statusText(job);
  row.badge.className = `badge ${job.status}`;
  if (job.status !== "completed" || row.asked) return;
  row.asked = true;
  content(job.id, "thumbnail").then((blob) => showThumbnail(row, blob), () => {}); // no thumbnail then
}

function showThumbnail(row, blob) {
  if (!row.item.isConnected) return;
  row.thumbnail.src = row.picture.hold(blob);
  show(row.thumbnail, true);
}

function statusText(job) {
  if (job.status === "queued") return "Waiting";
  if (job.status === "in_progress") return `${job.progress} %`;
  return job.status === "completed" ? "Done" : "Failed";
}

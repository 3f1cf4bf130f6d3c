/** The server's HTTP interface. Paths are relative, so that the page also works under a path prefix. */

const KEY = "motif.key";
const SILENCE_MS = 60000; // a stream without data or heartbeat for so long counts as broken

/** An error response. Status 0: there was no response. `retryAfter` is in seconds, or null. */
export class ApiError extends Error {
  constructor(status, { message, param = null, code = null }, retryAfter = null) {
    super(message);
    Object.assign(this, { status, param, code, retryAfter });
  }
}

/** Dispatches "unauthorised" when the server requires a key or refuses the current one. */
export const gate = new EventTarget();

let key = remembered();

export const hasKey = () => Boolean(key);

/** Use a key in this tab; an empty one forgets it. */
export function useKey(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Storage can be blocked; the key then lasts as long as the page.
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, { message: "The server cannot be reached." });
  }
  if (response.ok) return response;
  if (response.status === 401) gate.dispatchEvent(new Event("unauthorised"));
  throw await failure(response);
}

async function failure(response) {
  const body = await response.text().then(parse).catch(() => null); // a proxy may answer in HTML
  const error = body?.error?.message ? body.error : { message: `The server answered ${response.status}.` };
  return new ApiError(response.status, error, retrySeconds(response.headers.get("Retry-After")));
}

function retrySeconds(header) {
  if (!header) return null;
  const seconds = Number(header);
  return Number.isFinite(seconds) ? seconds : Math.max(0, (Date.parse(header) - Date.now()) / 1000);
}

const place = (id) => `v1/videos/${encodeURIComponent(id)}`;
const json = async (path, options) => parse(await (await request(path, options)).text());

/** Seeds stay text: JavaScript would round numbers of over 53 bits. */
const parse = (text) =>
  JSON.parse(text, (name, value, context) => (name === "seed" && value !== null ? (context?.source ?? value) : value));

export const models = async () => (await json("v1/models")).data;

/** Start a job. Repeating the same `once` and form does not start a second one. */
export const create = (form, once, signal) =>
  json("v1/videos", { method: "POST", body: form, headers: { "Idempotency-Key": once }, signal });

export const remix = (id, prompt) =>
  json(`${place(id)}/remix`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt }),
  });

export const remove = (id) => json(place(id), { method: "DELETE" });

/** A job, and the server's polling interval in milliseconds. */
export async function video(id, signal) {
  const response = await request(place(id), { signal });
  const wait = Number(response.headers.get("openai-poll-after-ms")) || 2000;
  return { job: parse(await response.text()), wait };
}

/** A page of jobs, newest first: `{data, last_id, has_more}`. */
export function list(limit, after = null) {
  const query = new URLSearchParams({ limit, order: "desc" });
  if (after) query.set("after", after);
  return json(`v1/videos?${query}`);
}

export async function content(id, variant = "video", signal = undefined) {
  return (await request(`${place(id)}/content?variant=${variant}`, { signal })).blob();
}

/** The server-sent events of a job as `{name, data}`. Not EventSource, which cannot send a key. */
export async function* events(id, signal) {
  const own = new AbortController();
  let silence = setTimeout(() => own.abort(), SILENCE_MS);
  try {
    const response = await request(`${place(id)}/events`, { signal: AbortSignal.any([signal, own.signal]) });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      clearTimeout(silence);
      silence = setTimeout(() => own.abort(), SILENCE_MS);
      const blocks = (rest + part.value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      yield* blocks.map(parseEvent).filter(Boolean);
    }
  } finally {
    clearTimeout(silence);
    own.abort();
  }
}

/** Parse one event; null for a comment, which is the server's heartbeat. */
function parseEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return data.length ? { name, data: parse(data.join("\n")) } : null;
}

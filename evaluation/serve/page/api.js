/** The server's HTTP interface. Paths are relative, so that the page also works under a path prefix. */

const KEY = `motif.study ${location.pathname}`;

/** An error response. Status 0: there was no response. `retryAfter` is in seconds, or null. */
export class ApiError extends Error {
  constructor(status, { message, code = null }, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

let token = remembered(); // beside the cookie, which browsers keep from frames on other sites

function remembered() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // storage can be blocked
  }
}

function remember(value) {
  token = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // The token then lasts as long as the page, and the cookie as well.
  }
}

async function ask(path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    response = await fetch(path, { ...options, headers });
    if (response.ok) return await response.json();
  } catch {
    throw new ApiError(0, { message: "The server cannot be reached." });
  }
  const error = await response.json().catch(() => null); // a proxy may answer in HTML
  const told = error?.error?.message ? error.error : { message: `The server answered ${response.status}.` };
  throw new ApiError(response.status, told, Number(response.headers.get("Retry-After")) || null);
}

/** How the study is run: `{tasks, least_seconds, platform, contact}`. */
export const study = () => ask("api/study");

/** Take part. Who has begun before goes on. */
export async function begin(ids) {
  remember((await ask("api/raters", { consent: true, ids })).token);
}

/** Where this rater is: `{status, done, total, task, code, return_url, notice}`. */
export const next = (ids) => ask("api/next", { ids });

/** Give a vote. Repeating it stores it once. */
export const vote = (id, answer) => ask(`api/tasks/${encodeURIComponent(id)}/vote`, answer);

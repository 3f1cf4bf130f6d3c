/** Following a job to its end: by its event stream, or by polling after the stream breaks. */

import { ApiError, events, video } from "./api.js";

const LONGEST_WAIT_MS = 15000;

export const isActive = (job) => job.status === "queued" || job.status === "in_progress";

/**
 * Follow a job: `onUpdate(job)` at each change, `onLost()` when the server does not answer.
 * Resolves to the ended job, or null if it was deleted.
 */
export async function follow(id, { onUpdate, onLost }, signal) {
  try {
    return await stream(id, onUpdate, signal);
  } catch (error) {
    if (signal.aborted || isRefusal(error)) throw error;
  }
  return poll(id, { onUpdate, onLost }, signal);
}

async function stream(id, onUpdate, signal) {
  for await (const { name, data } of events(id, signal)) {
    if (name === "deleted") return null;
    onUpdate(data);
    if (!isActive(data)) return data;
  }
  throw new ApiError(0, { message: "The stream ended before the job did." });
}

async function poll(id, { onUpdate, onLost }, signal) {
  let wait = 1000;
  for (;;) {
    try {
      const answer = await video(id, signal);
      wait = answer.wait;
      onUpdate(answer.job);
      if (!isActive(answer.job)) return answer.job;
    } catch (error) {
      if (signal.aborted || isRefusal(error)) throw error;
      if (error.status === 404) return null;
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
      onLost();
    }
    await pause(wait, signal);
  }
}

/** Asking again will not help: the key is missing or wrong. */
const isRefusal = (error) => error.status === 401 || error.status === 403;

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

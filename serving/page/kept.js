/** Images of jobs that wait or run, kept in this browser so that a reload still has them. Without storage, none are. */

const STORE = "images";

function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("motif", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

/** Do something with the store; null where the browser forbids storage or has no room. */
async function within(mode, act) {
  try {
    const opened = await database();
    return await new Promise((resolve, reject) => {
      const asked = act(opened.transaction(STORE, mode).objectStore(STORE));
      asked.onsuccess = () => resolve(asked.result ?? null);
      asked.onerror = () => reject(asked.error);
    }).finally(() => opened.close());
  } catch {
    return null;
  }
}

export const keep = (id, file) => within("readwrite", (store) => store.put(file, id));
export const kept = (id) => within("readonly", (store) => store.get(id));
export const forget = (id) => within("readwrite", (store) => store.delete(id));
export const forgetAll = () => within("readwrite", (store) => store.clear());

/** Forget the images of jobs that are over. */
export async function forgetOthers(ids) {
  const known = (await within("readonly", (store) => store.getAllKeys())) ?? [];
  await Promise.all(known.filter((id) => !ids.includes(id)).map(forget));
}

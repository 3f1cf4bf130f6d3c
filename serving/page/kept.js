/** Images of waiting and running jobs, stored in this browser to survive a reload, if it allows storage. */

const STORE = "images";

function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("motif", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

/** Run a request on the store; null if the browser blocks storage or has no space. */
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

/** Forget the images of ended jobs. */
export async function forgetOthers(ids) {
  const known = (await within("readonly", (store) => store.getAllKeys())) ?? [];
  await Promise.all(known.filter((id) => !ids.includes(id)).map(forget));
}

/** The field for an API key, shown as soon as the server requires one. */

import { gate, hasKey, useKey } from "./api.js";
import { byId, show } from "./dom.js";
import { forgetAll } from "./kept.js";
import { setFieldError } from "./problem.js";

/** Watch for refusals; `onKey` is called when there is a new key. */
export function watchKey(onKey) {
  show(byId("forget-key"), hasKey());
  gate.addEventListener("unauthorised", askForKey);
  byId("forget-key").addEventListener("click", async () => {
    useKey("");
    await forgetAll();
    location.reload();
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    take(byId("key").value.trim(), onKey);
  });
}

function askForKey() {
  show(byId("key-form"), true);
  show(byId("forget-key"), false); // no valid key to forget
  setFieldError("key", hasKey() ? "The server refused this key. Give another one." : "");
  byId("key").focus();
}

function take(value, onKey) {
  if (!/^[\x21-\x7e]+$/.test(value)) {
    setFieldError("key", "A key has letters, digits and symbols, no spaces.");
    return;
  }
  useKey(value);
  setFieldError("key", "");
  byId("key").value = "";
  show(byId("key-form"), false);
  show(byId("forget-key"), true);
  onKey();
}

"""The page in a tab of a real browser, and questions to put to it there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.serving.server import Server

PROMPT = "the star moves right"
SECONDS = 60_000

COUNT_URLS = """
window.heldUrls = new Set();
const make = URL.createObjectURL, free = URL.revokeObjectURL;
URL.createObjectURL = blob => { const url = make.call(URL, blob); heldUrls.add(url); return url; };
URL.revokeObjectURL = url => { heldUrls.delete(url); free.call(URL, url); };
"""
NOTE_PROGRESS = """
window.stages = [];
const bar = document.querySelector('#progress');
new MutationObserver(() => stages.push([stage.textContent, bar.value, live.textContent]))
  .observe(stage, { childList: true });
"""
LOW_CONTRAST = """
() => {
  const parts = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const ground = node => {
    for (let at = node; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.disabled || !node.checkVisibility()) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) found.push([node.tagName, node.textContent.trim(), (a + .05) / (b + .05)]);
  }
  return found;
}
"""
SMALL_TARGETS = """
() => [...document.querySelectorAll('button, a, input, textarea, select, summary')]
  .filter(node => node.checkVisibility())
  .map(node => [node.id || node.textContent.trim(), node.getBoundingClientRect()])
  .filter(([, box]) => box.height < 44 || box.width < 44).map(([name, box]) => `${name} ${box.width} x ${box.height}`)
"""
HAND_OVER = """
([kind, bytes, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: name.endsWith('png') ? 'image/png' : 'text/plain' }));
  const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}
"""


@dataclass
class Visit:
    """A tab, and what went wrong in it."""

    tab: Any
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def ask(self, picture: Path | None = None, prompt: str = PROMPT, **values: object) -> None:
        """Fill in the form and send it."""
        if picture:
            self.tab.set_input_files("#input_reference", picture)
            self.tab.wait_for_selector(f"#image-name:has-text('{picture.name}')")
        self.tab.fill("#prompt", prompt)
        if values:
            self.tab.evaluate("document.getElementById('advanced').open = true")
        for name, value in values.items():
            self.tab.fill(f"#{name}", str(value))
        self.tab.click("#generate")

    def video(self) -> Any:
        """The video, once it is there."""
        return self.tab.wait_for_selector("#video[src]", state="visible", timeout=SECONDS)

    def seed(self) -> str:
        """The seed that is shown."""
        return str(self.tab.text_content("#facts div:has(dt:text-is('Seed')) dd"))


@contextmanager
def visiting(browser: Any, server: Server, **options: Any) -> Iterator[Visit]:
    """Open the page; no error and no foreign host may be seen until it is closed."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
    context.add_init_script(COUNT_URLS)
    visit = Visit(context.new_page())
    visit.tab.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.tab.on("console", lambda line: visit.errors.append(line.text) if line.type in ("error", "warning") else None)
    visit.tab.on("request", lambda request: visit.asked.append(request.url))
    visit.tab.goto(server.url)
    visit.tab.wait_for_load_state("networkidle")
    yield visit
    context.close()
    assert visit.errors == []
    assert [url for url in visit.asked if not url.removeprefix("blob:").startswith(f"{server.url}/")] == []

"""What schemathesis must know of our server beside its OpenAPI document; it loads this file by its name."""

import base64
import io
import re
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
LIMITS = {"seconds": 600, "num_frames": 10_000, "fps": 240, "width": 99_999, "height": 99_999}
SIDES = ("width", "height")
LEVELS = ("guidance_from", "guidance_to")  # of which the first must be below the second


def picture(form: str) -> bytes:
    stream = io.BytesIO()
    Image.radial_gradient("L").resize((9, 7)).save(stream, form)
    return stream.getvalue()


PICTURES = [picture(form) for form in ("PNG", "JPEG", "WebP")]
schemathesis.openapi.format("binary", strategies.sampled_from(PICTURES))


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Which videos there are, the document does not know."""
    return query and {name: value for name, value in query.items() if name != "after"}


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Make what the document allows also possible, and leave what it forbids."""
    if not isinstance(body, dict) or "prompt" not in body:
        return body
    # The document allows both sides of a size or none: one alone stays, so that it is seen to be refused.
    kept = () if all(models_own(name, body.get(name)) for name in SIDES) else SIDES
    found = {name: value for name, value in body.items() if name in kept or not models_own(name, value)}
    if isinstance(extra := body.get("extra_params"), dict):
        found["extra_params"] = {name: value for name, value in extra.items() if not models_own(name, value)}
    if type(found.get("num_inference_steps")) is int and 0 < found["num_inference_steps"] <= 200:
        found["num_inference_steps"] = 2
    reference = body.get("input_reference")
    if isinstance(reference, dict) and isinstance(reference.get("image_url"), str):
        url = f"data:;base64,{base64.b64encode(PICTURES[0]).decode()}"
        found["input_reference"] = {**reference, "image_url": url}
    return found


def models_own(name: str, value: object) -> bool:
    """Whether the document allows a value, and only the model can say more: its size, its length, its name.

    The document allows any number that is text.
    """
    if name in LIMITS and isinstance(value, int | float) and not isinstance(value, bool):
        return 0.1 <= value <= LIMITS[name]
    if name in LEVELS and isinstance(value, int | float) and not isinstance(value, bool):
        return 0 <= value <= 1
    if isinstance(value, str) and name in ("size", "model", "spacing"):
        return name == "model" or bool(re.fullmatch("[0-9]{1,5}x[0-9]{1,5}|leading|trailing", value))
    return isinstance(value, str) and name not in ("prompt", "negative_prompt") and bool(NUMBER.fullmatch(value))

"""The price table of an estimate: ``prices.json`` beside this file, or the user's."""

from pathlib import Path
from typing import Annotated

import pydantic

from base.errors import InputError

OURS = Path(__file__).with_name("prices.json")
_Price = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class Prices(pydantic.BaseModel, extra="forbid", frozen=True):
    """Prices in a currency: a GPU for an hour by its name, a CPU core for an hour, a GB of object storage for a month.

    ``source`` says where they come from, of which kind they are (list price, contract) and from when.
    """

    source: str
    currency: str
    gpu_hour: dict[str, _Price]
    cpu_hour: _Price
    gb_month: _Price


def read_prices(path: Path) -> Prices:
    """The prices of a JSON file; InputError if it cannot be read or is not a price table."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--prices {path} cannot be read: {error}.") from error
    try:
        return Prices.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"--prices {path}: {where}: {first['msg'][0].lower()}{first['msg'][1:]}. Write it like {OURS}."
        ) from error

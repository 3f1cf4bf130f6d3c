"""The checker behind jaxtyping in tests: beartype, with int accepted as float as PEP 484 has it."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

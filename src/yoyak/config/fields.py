"""The base class of all sections, and the number types of their fields."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def number_from_text(value: object) -> object:
    """Convert a text such as "2e-05" to a number, and return every other value unchanged.

    `dvc exp run -S` writes 2e-05 without a dot. A YAML 1.1 reader takes that for a text.
    """
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return value


# The limits stand before the validator. In this order they are also in the JSON schema, and so in the reference of the params.
FROM_TEXT = BeforeValidator(number_from_text)
Float = Annotated[float, FROM_TEXT]
Positive = Annotated[float, Field(gt=0), FROM_TEXT]
# Logits are divided by it: with a smaller one they become infinite, and sampling fails.
LogitDivisor = Annotated[float, Field(ge=1e-3), FROM_TEXT]
NotNegative = Annotated[float, Field(ge=0), FROM_TEXT]
Share = Annotated[float, Field(ge=0, le=1), FROM_TEXT]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1), FROM_TEXT]
PositiveShare = Annotated[float, Field(gt=0, le=1), FROM_TEXT]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NonEmpty = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A section of a YAML file. It is frozen, unknown keys are errors, and values are not converted to another type.

    The only conversion is `number_from_text`. The first sentence of a field's description is also its comment in params.yaml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

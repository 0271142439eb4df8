"""The `data` section: what is trained on, one of the datasets that are registered."""

from typing import Annotated, Any

from pydantic import ValidationError

from bncompare.datasets import DATASETS, DataSection
from bncompare.options import OneOf

Data = Annotated[DataSection, OneOf("name", DATASETS, short=False)]


def dataset_of(config: dict[str, Any]) -> DataSection | None:
    """The dataset of a resolved config, which may be of a run from elsewhere; None where it is not known here."""
    data = config.get("data")
    section = DATASETS.get(str(data.get("name"))) if isinstance(data, dict) else None
    try:
        found = section.model_validate(data) if section else None
    except ValidationError:
        return None
    return found if found and found.is_resolved else None

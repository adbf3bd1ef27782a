"""What every JSON document has in common."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen record that refuses unknown keys; `schema` names its type and version.

    JSON has no NaN and no infinity; they are written as strings ("NaN", "Infinity"), because an
    engine that answers NaN must still give a report that can be read back.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        ser_json_inf_nan="strings",
    )

    def to_json(self) -> str:
        """Indented JSON with a final newline, keys in the order of declaration."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"

"""What every section of a configuration has in common."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Strict: an unknown key, a text for a number or a 1 for `true` is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    def refuse_changed(self, keys: Sequence[str], ignored_by: str, remedy: str = "") -> None:
        """Raise ValueError for one of `keys` that was set, since the experiment would not be what its file says."""
        for key in keys:
            value, default = getattr(self, key), type(self).model_fields[key].default
            if value != default:
                instead = remedy or f"leave it at {default!r}"
                raise ValueError(f"{key} is {value!r}, which {ignored_by} does not use; {instead}")

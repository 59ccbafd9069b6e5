"""A refusal of the bank: a list of (code, message) that the /v2 API turns into a 400.

It carries texts only; it knows neither HTTP nor which call was refused.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that the bank refuses; every entry becomes one element of `errors` in the 400 body."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{code}: {message}" for code, message in errors))
        self.errors = errors

    @classmethod
    def of(cls, code: str, message: str) -> Refusal:
        """A refusal with a single error."""
        return cls([(code, message)])

    @property
    def words(self) -> str:
        """What is wrong, without the codes."""
        return "; ".join(message for _, message in self.errors)

    def to_json(self) -> dict[str, list[dict[str, str]]]:
        """The body of the 400."""
        # Documented: OpenAPI components.schemas.Errors.
        return {"errors": [{"code": code, "message": message} for code, message in self.errors]}

"""Kinds of fields: money, moments, names; and the two kinds of serializers, what comes in and what goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from costrouter.lib.money import usd_number, usd_to_nanos

MAX_INT = 2_147_483_647
# Amounts of dollars that come in.
RATE = r"^[0-9]{1,4}(\.[0-9]{1,4})?$"
UNSIGNED, SIGNED = r"^[0-9]{1,10}(\.[0-9]{1,9})?$", r"^-?[0-9]{1,10}(\.[0-9]{1,9})?$"


class Out(serializers.Serializer):
    """What an operation answers."""


class In(serializers.Serializer):
    """What an operation takes, in a body or a query. What it does not know is an error, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(str(name) for name in data if name not in self.fields)
            if unknown:
                raise serializers.ValidationError({name: ["There is no such field."] for name in unknown[:10]})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A text that comes in. A number is not one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text: str = super().to_internal_value(data)
        return text


class Pattern(serializers.RegexField):
    """A text of one form that comes in."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text: str = super().to_internal_value(data)
        return text


@extend_schema_field(
    {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{1,9}$", "description": "USD, exact.", "examples": ["1.25"]}
)
class UsdOut(serializers.Field):
    """An amount of nanos as the exact decimal text of dollars: "1.25"."""

    def to_representation(self, value: int) -> str:
        return usd_number(value)


@extend_schema_field({"type": "string", "pattern": UNSIGNED, "description": "USD, exact.", "examples": ["12.5"]})
class UsdIn(serializers.Field):
    """An amount of dollars, as text of at most nine decimals, in nanos."""

    default_error_messages = {"invalid": 'An amount of dollars is a text like "12.5", with at most nine decimals.'}
    pattern = UNSIGNED

    def to_internal_value(self, data: Any) -> int:
        serializers.RegexField(self.pattern).run_validation(data) if isinstance(data, str) else self.fail("invalid")
        try:
            return usd_to_nanos(data)
        except ValueError as error:
            raise serializers.ValidationError(f"{error}.") from None


@extend_schema_field(
    {
        "type": "string",
        "pattern": r"^-?[0-9]{1,10}(\.[0-9]{1,9})?$",
        "description": "USD, exact.",
        "examples": ["-12.5"],
    }
)
class SignedUsdIn(UsdIn):
    """The same, which may be negative."""

    pattern = SIGNED


class MomentIn(serializers.DateTimeField):
    """A moment, RFC 3339, in UTC where it says no other; in a range that every database keeps."""

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value).astimezone(UTC)
        if not 2000 <= moment.year <= 9000:
            raise serializers.ValidationError("Between the years 2000 and 9000.")
        return moment


class Whole(serializers.IntegerField):
    """A whole number: in a body it is a number, in a query a text."""

    def to_internal_value(self, data: Any) -> int:
        if self.context.get("strict") and type(data) is not int:
            self.fail("invalid")
        number: int = super().to_internal_value(data)
        return number


class Flag(serializers.BooleanField):
    """true or false, and no other way to say so in a body."""

    def to_internal_value(self, data: Any) -> bool:
        if self.context.get("strict") and type(data) is not bool:
            self.fail("invalid", input=data)
        flag: bool = super().to_internal_value(data)
        return flag


class Seconds(serializers.FloatField):
    """A timeout."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0.1, max_value=3600, **options)

    def to_internal_value(self, data: Any) -> float:
        if type(data) not in (int, float):
            self.fail("invalid")
        return float(data)


@extend_schema_field({"type": "string", "pattern": RATE, "examples": ["1.2"]})
class RateIn(serializers.Field):
    """A factor, as text of at most four decimals."""

    default_error_messages = {"invalid": 'A factor is a text like "1.2", with at most four decimals.'}

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str) or not re.match(RATE, data):
            self.fail("invalid")
        return Decimal(data)


class Count(Whole):
    """A whole number that a column keeps."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("min_value", 0)
        options.setdefault("max_value", MAX_INT)
        super().__init__(**options)


class Id(Whole):
    """The number of a row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=10**18 - 1, **options)


class Names(serializers.ListField):
    """A list of short texts."""

    def __init__(self, *, length: int = 200, most: int = 500, **options: Any) -> None:
        super().__init__(child=Text(max_length=length), max_length=most, **options)

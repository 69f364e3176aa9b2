"""JSON Schema against JSON that an agent wrote: no network, bounded time.

The keywords come from the jsonschema package. Those that run regular expressions, or compare every element
with every other one, are replaced, since an agent could make either take for ever; the rest looks at a
deadline."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import pattern
from aegis.scoring.pattern import Deadline
from aegis.scoring.words import plain

_deadline: contextvars.ContextVar[Deadline] = contextvars.ContextVar("_deadline")

_DATA_KEYWORDS = frozenset({"const", "enum", "default", "examples"})

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def problem(schema: Any) -> str | None:
    """What is wrong with a schema itself, or None."""
    if not isinstance(schema, dict):
        return "expected a JSON Schema (a mapping)"
    try:
        return _problem(json.dumps(schema, sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        return "expected a JSON Schema made of JSON values only"


def violation(schema: Any, value: Any, deadline: Deadline) -> str | None:
    """The first place where a value breaks the schema, or None.

    Raises `TooSlowError`, and `InfrastructureError` for a schema whose references can't be resolved.
    """
    from referencing.exceptions import Unresolvable

    token = _deadline.set(deadline)
    try:
        error: Any = next(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value), None)
    except Unresolvable as missing:
        raise InfrastructureError(
            f"the JSON Schema of an expectation is incomplete: {plain(str(missing))}"
        ) from None
    except RecursionError:
        return "it is nested too deeply for the schema"
    finally:
        _deadline.reset(token)
    if error is None:
        return None
    return f"{plain(error.json_path, 60)}: {plain(error.message)}"


@lru_cache(maxsize=1024)
def _problem(text: str) -> str | None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    schema = json.loads(text)
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"not a JSON Schema: {plain(error.json_path, 60)}: {plain(error.message)}"
    return next(_parts_problems(schema, schema), None)


def _parts_problems(part: Any, root: dict[str, Any]) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _parts_problems(item, root)
    if not isinstance(part, dict):
        return
    yield from _keyword_problems(part, root)
    for key, value in part.items():
        if key not in _DATA_KEYWORDS:
            yield from _parts_problems(value, root)


def _keyword_problems(part: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    patterns = [part["pattern"]] if isinstance(part.get("pattern"), str) else []
    if isinstance(part.get("patternProperties"), dict):
        patterns += part["patternProperties"]
        if "unevaluatedProperties" in part:
            yield "patternProperties beside unevaluatedProperties is not supported: use additionalProperties"
    for expression in patterns:
        if wrong := pattern.problem(expression):
            yield f"{wrong} (in {expression!r})"
    reference = part.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith("#"):
            yield f"references to other documents are not supported: {reference!r}"
        elif reference.startswith("#/") and not _resolves(reference, root):
            yield f"the reference {reference!r} leads nowhere"


def _resolves(reference: str, root: Any) -> bool:
    from urllib.parse import unquote

    here = root
    for step in unquote(reference[2:]).split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdigit() and int(name) < len(here):
            here = here[int(name)]
        else:
            return False
    return True


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    schema = json.loads(text)
    # A registry of its own: the default one would fetch unknown references over the network.
    return _bounded_class(validator_for(schema, default=Draft202012Validator))(schema, registry=Registry())


@lru_cache(maxsize=16)
def _bounded_class(base: Any) -> Any:
    from jsonschema.validators import extend

    keywords = {name: _bounded(keyword) for name, keyword in base.VALIDATORS.items()}
    own: dict[str, Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    keywords.update({name: keyword for name, keyword in own.items() if name in keywords})
    return extend(base, keywords)  # type: ignore[no-untyped-call]


def _bounded(keyword: Keyword) -> Keyword:
    def look_at_clock(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _deadline.get().left_s()
        yield from keyword(validator, value, instance, schema) or ()

    return look_at_clock


def _error(message: str) -> Any:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _pattern(validator: Any, expression: str, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not pattern.found(expression, instance, _deadline.get()):
        yield _error(f"{instance[:100]!r} does not match {expression!r}")


def _pattern_properties(validator: Any, properties: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for expression, subschema in properties.items():
        for key, value in instance.items():
            if pattern.found(expression, key, _deadline.get()):
                yield from validator.descend(value, subschema, path=key, schema_path=expression)


def _additional_properties(validator: Any, additional: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    expressions = list(schema.get("patternProperties", {}))
    for key, value in instance.items():
        if key in schema.get("properties", {}):
            continue
        if any(pattern.found(expression, key, _deadline.get()) for expression in expressions):
            continue
        if additional is False:
            yield _error(f"the key {key[:100]!r} is not allowed")
        else:
            yield from validator.descend(value, additional, path=key)


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[Any]:
    if not unique or not validator.is_type(instance, "array"):
        return
    seen: set[str] = set()
    for item in instance:
        _deadline.get().left_s()
        written = json.dumps(_comparable(item), sort_keys=True)
        if written in seen:
            yield _error("two elements are equal")
            return
        seen.add(written)


def _comparable(value: Any) -> Any:
    # JSON Schema holds 1 and 1.0 for equal.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    return value

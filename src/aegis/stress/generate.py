"""The variants of a case. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.stress import registry
from aegis.stress.base import NotApplicableError, Refusal, RejectedError, Variant, variant_name
from aegis.suite.model import Case


@dataclass(frozen=True, slots=True)
class Generated:
    variants: tuple[Variant, ...]
    refusals: tuple[Refusal, ...]


def variants_of(case: Case) -> Generated:
    """The variants that the case's rules ask for, in their order, and those that could not be made."""
    made: list[Variant] = []
    refused: list[Refusal] = []
    for rule in case.stress:
        kind = registry.get(rule.transform)
        transform = kind(kind.read(rule.params))
        for level in rule.levels:
            try:
                made.append(transform.variant(case, level))
            except (NotApplicableError, RejectedError) as error:
                name = variant_name(rule.transform, level)
                refused.append(Refusal(case.id, name, str(error), isinstance(error, RejectedError)))
    return Generated(tuple(made), tuple(refused))


def variant_of(case: Case, name: str) -> Variant:
    """The variant of this name. Raises `KeyError` when the case has no such variant, and what makes it impossible."""
    for rule in case.stress:
        for level in rule.levels:
            if variant_name(rule.transform, level) == name:
                kind = registry.get(rule.transform)
                return kind(kind.read(rule.params)).variant(case, level)
    raise KeyError(name)

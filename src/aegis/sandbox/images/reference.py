"""Image references: which kind of image one names, and the plan to make it."""

from __future__ import annotations

import difflib

from aegis.errors import UsageError

from .plan import Plan, Request

BUILT_IN = ("debian",)
FORMS = "debian, PATH.toml, oci:NAME, or oci-layout:PATH"


def make_plan(ref: str, request: Request) -> Plan:
    """The plan for a reference. Raises `UsageError` for one of no known form, and what its kind's own plan raises."""
    kind, colon, rest = ref.partition(":")
    if ref == "debian":
        from .debian import plan as plan_debian

        return plan_debian(request)
    if colon and kind == "oci":
        from .oci.registry import plan as plan_registry

        return plan_registry(rest, request)
    if colon and kind == "oci-layout":
        from .oci.layout import plan as plan_layout

        return plan_layout(rest, request)
    if ref.endswith(".toml"):
        from .recipe import plan as plan_recipe

        return plan_recipe(ref, request)
    raise UsageError(f"{ref!r} is not an image: {_hint(ref)}", fix=f"use {FORMS}")


def _hint(ref: str) -> str:
    near = difflib.get_close_matches(ref.lower(), BUILT_IN, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"for an image of a registry, write oci:{ref}" if ":" in ref or "/" in ref else "no built-in image"

"""What the agent called and what it left behind, against what the ground truth does."""

import hashlib
import json
from typing import Any


def calls(trial: Any, expected: list[dict[str, Any]]) -> tuple[bool, str]:
    """Passed when the trace has these calls in this order, with their arguments and their results in full."""
    found = [fingerprint(call) for call in trial.tool_calls]
    for number, (one, other) in enumerate(zip(found, expected, strict=False), 1):
        if one != other:
            different = ", ".join(key for key in other if one[key] != other[key])
            return False, f"call {number} ({other['name']}) has another {different}"
    if len(found) != len(expected):
        return False, f"expected {len(expected)} calls, found {len(found)}"
    longest = max((call["chars"] for call in expected), default=0)
    return True, f"{len(expected)} calls, the longest result of {longest:,} characters"


def fingerprint(call: Any) -> dict[str, Any]:
    result = call.result if isinstance(call.result, str) else json.dumps(call.result, sort_keys=True)
    digest = hashlib.sha256(result.encode("utf-8", "replace")).hexdigest()
    return {"name": call.name, "arguments": call.arguments, "chars": len(result), "sha256": digest}


def state(trial: Any, expected: dict[str, Any]) -> tuple[bool, str]:
    """Passed when the services hold at the end what they hold after the ground truth."""
    try:
        found = json.loads(trial.read_file("state.json"))
    except ValueError:
        return False, "state.json is not JSON"
    place = difference(found, expected, "$")
    return (
        (False, f"the services differ at {place}") if place else (True, "the services hold what they should")
    )


def difference(found: Any, expected: Any, place: str) -> str | None:
    """Where two JSON values differ first."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        pairs = [(found[key], expected[key], f"{place}.{key}") for key in expected]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = [(*two, f"{place}[{n}]") for n, two in enumerate(zip(found, expected, strict=True))]
    else:
        return None if found == expected and type(found) is type(expected) else place
    return next((where for pair in pairs if (where := difference(*pair))), None)

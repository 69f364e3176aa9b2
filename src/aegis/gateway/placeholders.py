"""Stand-ins for secrets: same prefix, length and alphabet as the value, nothing else of it."""

from __future__ import annotations

import random
import string

from aegis.errors import UsageError

MIN_LENGTH = 8
"""A shorter value would be found by accident in bodies that do not hold it."""

_MIN_RANDOM = 6

_PREFIXES = (
    *("sk-ant-api03-", "sk-ant-oat01-", "sk-ant-admin01-", "sk-ant-", "sk-proj-", "sk-svcacct-", "sk-or-v1-"),
    *("sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "whsec_"),
    *("github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-"),
    *("xoxb-", "xoxp-", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "hf_", "gsk_", "xai-", "r8_", "pplx-"),
    *("SG.", "npm_", "pypi-", "dop_v1_", "lsv2_pt_", "tvly-", "eyJ"),
)
"""What public key formats begin with; it tells the format, not the key."""

_KEPT = "-_."
"""Separators stay where they are. Everything else that would need escaping in a URL or in JSON does not stay, so a
placeholder reads the same wherever it is written."""

_ALPHABETS = (
    string.digits,
    "0123456789abcdef",
    "0123456789ABCDEF",
    string.ascii_uppercase + string.digits,
    string.ascii_lowercase + string.digits,
    string.ascii_letters + string.digits,
)


_HEX, _BASE32 = "0123456789abcdef", string.ascii_uppercase + "234567"
_MIXED = string.ascii_letters + string.digits

_SHAPES: dict[str, tuple[str, str, int]] = {
    "ANTHROPIC_API_KEY": ("sk-ant-api03-", _MIXED, 95),
    "ANTHROPIC_AUTH_TOKEN": ("sk-ant-oat01-", _MIXED, 95),
    "AWS_ACCESS_KEY_ID": ("AKIA", _BASE32, 16),
    "AWS_SECRET_ACCESS_KEY": ("", _MIXED, 40),
    "AZURE_OPENAI_API_KEY": ("", _HEX, 32),
    "DEEPSEEK_API_KEY": ("sk-", _HEX, 32),
    "GH_TOKEN": ("ghp_", _MIXED, 36),
    "GITHUB_TOKEN": ("ghp_", _MIXED, 36),
    "GITLAB_TOKEN": ("glpat-", _MIXED, 20),
    "GEMINI_API_KEY": ("AIza", _MIXED, 35),
    "GOOGLE_API_KEY": ("AIza", _MIXED, 35),
    "GROQ_API_KEY": ("gsk_", _MIXED, 52),
    "HF_TOKEN": ("hf_", string.ascii_letters, 34),
    "HUGGINGFACE_HUB_TOKEN": ("hf_", string.ascii_letters, 34),
    "HUGGING_FACE_HUB_TOKEN": ("hf_", string.ascii_letters, 34),
    "MISTRAL_API_KEY": ("", _MIXED, 32),
    "NPM_TOKEN": ("npm_", _MIXED, 36),
    "OPENAI_API_KEY": ("sk-proj-", _MIXED, 156),
    "OPENROUTER_API_KEY": ("sk-or-v1-", _HEX, 64),
    "PERPLEXITY_API_KEY": ("pplx-", _MIXED, 48),
    "REPLICATE_API_TOKEN": ("r8_", _MIXED, 37),
    "STRIPE_API_KEY": ("sk_live_", _MIXED, 99),
    "STRIPE_SECRET_KEY": ("sk_live_", _MIXED, 99),
    "STRIPE_WEBHOOK_SECRET": ("whsec_", _MIXED, 32),
    "TAVILY_API_KEY": ("tvly-", _MIXED, 32),
    "TOGETHER_API_KEY": ("", _HEX, 64),
    "XAI_API_KEY": ("xai-", _MIXED, 80),
}
"""Variable → prefix, alphabet and length (without the prefix) of the values that its provider hands out."""


def made_up(name: str) -> str:
    """A random value of the shape that the variable's provider hands out, else 40 letters and digits: it stands in
    for a secret that the host lacks, so that the guest sees the same with and without the real one."""
    prefix, alphabet, length = _SHAPES.get(name.upper(), ("", _MIXED, 40))
    rng = random.SystemRandom()
    return prefix + "".join(rng.choice(alphabet) for _ in range(length))


def check_value(name: str, value: str) -> None:
    """Raises `UsageError` when a value cannot be protected; the text never holds the value."""
    if len(value) < MIN_LENGTH:
        raise UsageError(
            f"the secret {name} has fewer than {MIN_LENGTH} characters: it cannot be told apart from other text",
            fix=f"give {name} its real value, or pass it as plain environment in `agent.env`",
        )
    if not value.isascii() or not value.isprintable():
        raise UsageError(
            f"the secret {name} holds characters that no HTTP header can carry",
            fix=f"{name} must be one line of printable ASCII; keys in PEM form cannot be used behind the gateway",
        )


def make_placeholder(value: str, rng: random.Random) -> str:
    """A random text of the same shape, of which no more than the format's prefix is shared with the value."""
    prefix = next((item for item in _PREFIXES if value.startswith(item)), "")
    rest = value[len(prefix) :]
    if sum(char.isalnum() for char in rest) < _MIN_RANDOM:
        prefix, rest = "", value
    alphabet = _alphabet(rest)
    while True:
        made = prefix + "".join(char if char in _KEPT else rng.choice(alphabet) for char in rest)
        if sum(char not in _KEPT for char in made) < _MIN_RANDOM:
            made = "".join(rng.choice(alphabet) for _ in value)
        if made != value:
            return made


def _alphabet(text: str) -> str:
    used = {char for char in text if char.isalnum()}
    return next((item for item in _ALPHABETS if used and used <= set(item)), _ALPHABETS[-1])

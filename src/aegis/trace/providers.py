"""Who answers at a host: the provider's name as OpenTelemetry's conventions write it."""

from __future__ import annotations

_BY_SUFFIX = {
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.ai.azure.com": "azure.ai.inference",
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "amazonaws.com": "aws.bedrock",
    "api.mistral.ai": "mistral_ai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
}

_BY_FORMAT = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gcp.gemini",
}


def provider_of(host: str, format: str) -> str:
    """The provider at this host; for a host that is nobody's, the one whose format is spoken there."""
    host = host.lower().rstrip(".")
    for suffix, provider in _BY_SUFFIX.items():
        if host == suffix or host.endswith((f".{suffix}", f"-{suffix}")):
            return provider
    return _BY_FORMAT.get(format, "unknown")

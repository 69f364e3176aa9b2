"""Variables whose name alone tells whose secret they hold: the hosts that common clients send them to."""

from __future__ import annotations

from types import MappingProxyType

WELL_KNOWN = MappingProxyType(
    {
        "ANTHROPIC_API_KEY": "api.anthropic.com",
        "BRAVE_API_KEY": "api.search.brave.com",
        "CEREBRAS_API_KEY": "api.cerebras.ai",
        "COHERE_API_KEY": "api.cohere.com",
        "CO_API_KEY": "api.cohere.com",
        "DEEPSEEK_API_KEY": "api.deepseek.com",
        "ELEVENLABS_API_KEY": "api.elevenlabs.io",
        "EXA_API_KEY": "api.exa.ai",
        "FIRECRAWL_API_KEY": "api.firecrawl.dev",
        "FIREWORKS_API_KEY": "api.fireworks.ai",
        "GEMINI_API_KEY": "generativelanguage.googleapis.com",
        "GH_TOKEN": "api.github.com",
        "GITHUB_TOKEN": "api.github.com",
        "GOOGLE_API_KEY": "generativelanguage.googleapis.com",
        "GROQ_API_KEY": "api.groq.com",
        "MISTRAL_API_KEY": "api.mistral.ai",
        "OPENAI_API_KEY": "api.openai.com",
        "OPENROUTER_API_KEY": "openrouter.ai",
        "PERPLEXITY_API_KEY": "api.perplexity.ai",
        "SENDGRID_API_KEY": "api.sendgrid.com",
        "SERPER_API_KEY": "google.serper.dev",
        "SLACK_BOT_TOKEN": "slack.com",
        "STRIPE_API_KEY": "api.stripe.com",
        "STRIPE_SECRET_KEY": "api.stripe.com",
        "TAVILY_API_KEY": "api.tavily.com",
        "TOGETHER_API_KEY": "api.together.xyz",
        "VOYAGE_API_KEY": "api.voyageai.com",
        "XAI_API_KEY": "api.x.ai",
    }
)
"""Variable → the default host of its provider's client. A secret that goes anywhere else names its hosts."""

"""Texts of many kinds for benchmarks/token_estimate.py, from what a Debian host with developers' packages has.

Each source is a mapping from a name to a text. What is not installed is left out; generated ones are the same
everywhere.
"""

from __future__ import annotations

import base64
import gettext
import gzip
import hashlib
import json
import random
import re
import sysconfig
import uuid
from collections.abc import Callable, Iterable, Mapping
from html import unescape
from pathlib import Path
from typing import Any

Texts = dict[str, str]
MAX_CHARS = 60_000
SHARE = Path("/usr/share")
ROOT = Path(__file__).resolve().parents[1]
FORTUNES = (
    "computers",
    "cookie",
    "education",
    "food",
    "law",
    "literature",
    "love",
    "medicine",
    "people",
    "wisdom",
)
STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGES = Path(sysconfig.get_path("purelib"))


def is_held_out(name: str) -> bool:
    """Half of the texts are for calibration, the other half is measured: by a hash of the name, as by a coin."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def read(pattern: str, root: Path = Path("/"), limit: int = 200) -> Texts:
    """The beginnings of the files that match."""
    found: Texts = {}
    for path in sorted(root.glob(pattern))[:limit]:
        try:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rb") as file:
                found[str(path)] = file.read(MAX_CHARS).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return found


def catalogues(*languages: str) -> Texts:
    """Translated messages of the installed programs; of `en` their originals."""
    found: Texts = {}
    for language in languages:
        folder = SHARE / "locale" / ("de" if language == "en" else language) / "LC_MESSAGES"
        for path in sorted(folder.glob("*.mo")):
            try:
                with path.open("rb") as file:
                    catalogue: Mapping[Any, str] = vars(gettext.GNUTranslations(file))["_catalog"]
            except (OSError, UnicodeDecodeError, ValueError):
                continue
            pairs = [(key, text) for key, text in catalogue.items() if isinstance(key, str) and key != text]
            texts = [key if language == "en" else text for key, text in pairs if key]
            if texts:
                found[f"{language}/{path.name}"] = "\n".join(texts)[:MAX_CHARS]
    return found


def tutors(*languages: str) -> Texts:
    """Vim's tutorial, which whoever translated it wrote as prose."""
    found: Texts = {}
    for language in languages:
        found |= read(f"usr/share/vim/vim*/tutor/tutor.{language}.utf-8")
    return found


def fortunes(*names: str) -> Texts:
    """Jokes, proverbs and quotations."""
    found: Texts = {}
    for name in names:
        found |= read(f"usr/share/games/fortunes/{name}")
    return {name: text for name, text in found.items() if not name.endswith((".dat", ".u8"))}


def messages(*languages: str) -> Texts:
    """What customers write to a shop's support."""
    lines = (Path(__file__).parent / "token_messages.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines]
    return {f"{language} {text[:20]}": text for language, text in pairs if language in languages}


def manual(language: str) -> Texts:
    """The Debian reference, without its tags."""
    pages = read(f"usr/share/debian-reference/*.{language}.html")
    return {name: unescape(re.sub(r"<[^>]*>", "", text)) for name, text in pages.items()}


def english() -> Texts:
    prose = read("usr/share/vim/vim*/doc/usr_*.txt") | read("usr/share/common-licenses/*")
    return prose | read("docs/*.md", ROOT) | catalogues("en") | fortunes(*FORTUNES)


def code() -> Texts:
    python = read("*.py", STDLIB, 120)
    c = read("usr/include/*.h", limit=60) | read("usr/include/linux/*.h", limit=60)
    return (
        python
        | c
        | read("usr/share/perl/5*/*.pm", limit=60)
        | read("usr/share/vim/vim*/indent/*.vim", limit=60)
    )


def files_of_json() -> Texts:
    return (
        read("botocore/data/*/*/service-2.json.gz", PACKAGES, 40)
        | read("botocore/data/*/*/paginators-1.json", PACKAGES, 40)
        | read("**/*schema*.json", PACKAGES, 60)
    )


def generated(make: Callable[[random.Random], str], name: str, texts: int = 20, lines: int = 120) -> Texts:
    found: Texts = {}
    for number in range(texts):
        rng = random.Random(f"{name} {number}")
        found[f"{name} {number}"] = "\n".join(make(rng) for _ in range(lines))
    return found


VOCABULARY = """
order refund parcel customer invoice delivered blue chair lamp express warehouse return label premium account
member partial damaged battery charger keyboard monitor address pending approved region north south store gift card
wireless headphones replaced warranty cotton shirt medium large support agent callback urgent subscription
"""
WORDS = VOCABULARY.split()


def words(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


def identifier(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def day(rng: random.Random) -> str:
    return f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def clock(rng: random.Random) -> str:
    return f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"


def record(rng: random.Random) -> dict[str, Any]:
    """An order as a shop's API would give it."""
    name = rng.choice(WORDS).title()
    return {
        "id": identifier(rng),
        "orderNumber": rng.randint(1000, 999_999),
        "created_at": f"{day(rng)}T{clock(rng)}.{rng.randint(0, 999):03}Z",
        "customer": {
            "name": name,
            "email": f"{name.lower()}{rng.randint(1, 99)}@shop.example",
            "vip": rng.random() < 0.1,
        },
        "items": [
            {
                "sku": f"{rng.choice(WORDS)[:3].upper()}-{rng.randint(100, 9999)}",
                "qty": rng.randint(1, 5),
                "price": round(rng.uniform(1, 900), 2),
                "title": words(rng, 2, 5),
            }
            for _ in range(rng.randint(1, 4))
        ],
        "total": round(rng.uniform(5, 3000), 2),
        "currency": rng.choice(["EUR", "USD", "GBP"]),
        "status": rng.choice(["shipped", "pending", "cancelled"]),
        "note": rng.choice([None, words(rng, 4, 14)]),
    }


def compact_json(rng: random.Random) -> str:
    return json.dumps(record(rng), separators=(",", ":"))


def spaced_json(rng: random.Random) -> str:
    return json.dumps(record(rng))


def indented_json(rng: random.Random) -> str:
    return json.dumps(record(rng), indent=rng.choice([2, 4]))


def access_log(rng: random.Random) -> str:
    address = ".".join(str(rng.randint(1, 254)) for _ in range(4))
    path = f"/api/v{rng.randint(1, 3)}/{rng.choice(WORDS)}s/{rng.randint(1, 99999)}"
    return (
        f'{address} - - [{rng.randint(1, 28):02}/Nov/2026:{clock(rng)} +0000] "{rng.choice(["GET", "POST", "PUT"])} '
        f'{path}?page={rng.randint(1, 30)} HTTP/1.1" {rng.choice([200, 201, 304, 404, 500])} {rng.randint(20, 90000)} '
        f'"-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"'
    )


def service_log(rng: random.Random) -> str:
    level = rng.choice(["INFO", "DEBUG", "WARN", "ERROR"])
    return (
        f"{day(rng)}T{clock(rng)}.{rng.randint(0, 999):03}Z {level} [worker-{rng.randint(0, 15)}] "
        f"com.shop.{rng.choice(WORDS)}.{rng.choice(WORDS).title()}Service - {words(rng, 3, 8)} "
        f"request_id={identifier(rng)} duration_ms={rng.randint(1, 9999)} user={rng.getrandbits(40):x}"
    )


def structured_log(rng: random.Random) -> str:
    return json.dumps(
        {
            "ts": rng.randint(1_790_000_000, 1_800_000_000) + round(rng.random(), 3),
            "level": "info",
            "msg": words(rng, 3, 8),
            "trace_id": f"{rng.getrandbits(128):032x}",
            "pod": f"shop-{rng.getrandbits(36):09x}-{rng.getrandbits(20):05x}",
            "latency": round(rng.uniform(0, 3), 6),
        }
    )


def system_log(rng: random.Random) -> str:
    return (
        f"Nov {rng.randint(1, 28):>2} {clock(rng)} node{rng.randint(1, 40)} "
        f"{rng.choice(['sshd', 'kernel', 'systemd', 'cron'])}"
        f"[{rng.randint(300, 65000)}]: {words(rng, 3, 9)}: 0x{rng.getrandbits(48):012x} port {rng.randint(1024, 65535)}"
    )


def logs() -> Texts:
    lines: Texts = {}
    for path, text in (read("var/log/*.log") | read("var/log/apt/*.log")).items():
        lines |= {f"{path} {start}": text[start : start + 6000] for start in range(0, len(text), 6000)}
    for make in (access_log, service_log, structured_log, system_log):
        lines |= generated(make, make.__name__, 10)
    return lines


def json_texts() -> Texts:
    found: Texts = {}
    for make in (compact_json, spaced_json, indented_json):
        found |= generated(make, make.__name__, 14, 40)
    return found


PICTURES = "😀 😂 🙏 👍 ❤️ 🎉 😭 🔥 🤔 😅 👩‍💻 🇩🇪 ✅ 🚀 😡 🥲 👋🏽 🤷‍♀️ 📦 💸 🐛 ⚠️ 🫠 🧾 🙃"
EMOJI = PICTURES.split()


def emoji_message(rng: random.Random) -> str:
    """A message of a chat, with emoji between and behind its words."""
    found = []
    for _ in range(rng.randint(1, 3)):
        found += [words(rng, 2, 8), "".join(rng.choices(EMOJI, k=rng.choice([1, 1, 2, 3])))]
    return " ".join(found)


def tokens_and_keys(rng: random.Random) -> str:
    return rng.choice(
        [
            base64.b64encode(rng.randbytes(rng.randint(20, 300))).decode(),
            rng.randbytes(32).hex(),
            identifier(rng),
        ]
    )


def table(rng: random.Random) -> str:
    cells = [
        rng.randint(1, 9999),
        words(rng, 1, 3),
        f"{rng.uniform(0, 900):.2f}",
        day(rng),
        rng.choice(WORDS),
    ]
    return f"| {' | '.join(map(str, cells))} |"


KINDS: dict[str, Callable[[], Texts]] = {
    "English": english,
    "code": code,
    "JSON": json_texts,
    "JSON schemas": files_of_json,
    "logs": logs,
    "CJK, customers' messages": lambda: messages("zh", "ja", "ko"),
    "CJK, prose": lambda: (
        tutors("ja", "zh_cn", "zh_tw", "ko") | manual("ja") | manual("zh-cn") | fortunes("song100", "tang300")
    ),
    "CJK, programs' messages": lambda: catalogues("ja", "zh_CN", "zh_TW", "ko"),
    "Cyrillic, customers' messages": lambda: messages("ru", "uk"),
    "Cyrillic, prose": lambda: tutors("ru", "uk", "bg", "sr") | fortunes("ru/*", "bg/*"),
    "Cyrillic, programs' messages": lambda: catalogues("ru", "uk", "bg", "sr"),
    "emoji": lambda: generated(emoji_message, "emoji"),
    "other Latin, customers' messages": lambda: messages("de", "fr", "es", "pl"),
    "other Latin, prose": lambda: (
        tutors("de", "fr", "es", "pl", "vi") | fortunes("de/*", "es/*", "it/*", "pl/*", "cs/*")
    ),
    "other Latin, programs' messages": lambda: catalogues("de", "fr", "es", "pl", "tr", "vi", "cs", "sv"),
    "Greek": lambda: catalogues("el") | tutors("el") | messages("el"),
    "Arabic, Hebrew": lambda: catalogues("ar", "he", "fa") | messages("ar"),
    "Indic, Thai": lambda: (
        catalogues("hi", "ta", "bn", "mr", "te", "gu", "kn", "ml", "pa", "th") | messages("hi")
    ),
    "Markdown tables": lambda: generated(table, "table"),
    "base64, hex, UUIDs": lambda: generated(tokens_and_keys, "keys"),
}


def split(texts: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Those to calibrate by and those to measure."""
    return (
        [text for name, text in texts.items() if not is_held_out(name)],
        [text for name, text in texts.items() if is_held_out(name)],
    )


def all_texts(kinds: Iterable[str] = tuple(KINDS)) -> dict[str, Texts]:
    return {kind: KINDS[kind]() for kind in kinds}

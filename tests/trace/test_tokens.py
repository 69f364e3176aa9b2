"""Tokens before anybody has counted them: by kind of text, for any text, and exactly where the vocabulary is there."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.trace import tokens
from support.fuzzing import examples

ROOT = Path(__file__).resolve().parents[2]
MODEL = "gpt-5-mini"

RUSSIAN = """Здравствуйте! Я заказал у вас синюю лампу две недели назад, но посылка до сих пор не пришла. Номер заказа
1042. Можете ли вы проверить, где она находится? Если она потерялась, я хотел бы получить свои деньги обратно.

Не удалось открыть файл настроек: отказано в доступе. Проверьте права пользователя и перезапустите службу, затем
повторите загрузку обновления. Если ошибка повторится, приложите журнал событий к обращению в техническую поддержку.
Тише едешь, дальше будешь, говаривал старый мельник, подсыпая зерно под жернова и поглядывая на пасмурное небо."""
CHINESE = """你好，我两周前订购了一盏蓝色的台灯，但是包裹到现在还没有送到。订单号是1042。
请帮我查一下它在哪里，什么时候能够送达？如果已经丢失，我希望可以全额退款。谢谢你的帮助，期待你今天晚上之前的回复。"""
JAPANESE = """こんにちは。二週間前に青いランプを注文しましたが、荷物がまだ届いていません。注文番号は1042です。
今どこにあるのか確認していただけますか。もし紛失していたら、全額返金をお願いしたいと思います。"""
KOREAN = """안녕하세요. 이 주 전에 파란색 램프를 주문했는데 아직 택배가 도착하지 않았습니다. 주문 번호는 1042입니다.
지금 어디에 있는지 확인해 주시겠어요? 분실되었다면 전액 환불을 받고 싶습니다."""
GERMAN = """Guten Tag, ich habe vor zwei Wochen eine blaue Lampe bestellt, aber das Paket ist noch nicht angekommen.
Könnten Sie bitte prüfen, wo es geblieben ist, und mir die voraussichtliche Lieferzeit mitteilen? Falls es verloren
gegangen ist, hätte ich gern mein Geld zurück. Vielen Dank für Ihre Mühe und freundliche Grüße."""
CHAT = """omg it finally arrived 😍😍 thank you sooo much 🙏 but the box was a bit crushed 😅 see the photo 📦👀
no worries at all 👍 my dog loves the box more than I do anyway 🐶❤️ have a great weekend 🎉🎉🎉 and see you soon 👋"""


def english() -> str:
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("sandbox.md", "scorers.md")]
    return "\n".join(line for page in pages for line in page.splitlines() if line[:1].isalpha())


def code() -> str:
    return "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/aegis/engine").glob("*.py"))
    )


def records(number: int = 200) -> list[dict[str, object]]:
    rng = random.Random(1)
    return [
        {
            "order": rng.randint(1000, 99999),
            "placed_at": f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T12:30:00Z",
            "total": round(rng.uniform(1, 900), 2),
            "status": rng.choice(["shipped", "pending", "refunded"]),
            "lines": [{"sku": f"LMP-{rng.randint(1, 999):04}", "quantity": rng.randint(1, 5), "gift": False}],
            "trace": f"{rng.getrandbits(64):016x}",
        }
        for _ in range(number)
    ]


def log() -> str:
    rng = random.Random(2)
    return "\n".join(
        f"2026-11-23T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}.{rng.randint(0, 999):03}Z "
        f"{rng.choice(['INFO', 'WARN', 'ERROR'])} gateway[{rng.randint(100, 9999)}] upstream 10.0.{rng.randint(0, 255)}"
        f".{rng.randint(1, 254)}:8443 answered {rng.choice([200, 404, 503])} in {rng.uniform(1, 900):.1f}ms id="
        f"{rng.getrandbits(64):016x}"
        for _ in range(300)
    )


KINDS = {
    "English": english,
    "code": code,
    "JSON": lambda: json.dumps(records()),
    "compact JSON": lambda: json.dumps(records(), separators=(",", ":")),
    "indented JSON": lambda: json.dumps(records(), indent=2),
    "logs": log,
    "CJK": lambda: "\n".join([CHINESE, JAPANESE, KOREAN]),
    "Cyrillic": lambda: RUSSIAN,
    "German": lambda: GERMAN,
    "emoji": lambda: CHAT,
}


FEW_SENTENCES = {"CJK", "Cyrillic", "German", "emoji"}
"""Here the text is too short for errors of single words to even out."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_near_the_count(kind: str) -> None:
    text = KINDS[kind]()
    counted = tokens.exact(text, MODEL)
    assert counted is not None, "the development packages hold the vocabulary (toktok-rs)"
    assert tokens.estimate(text) == pytest.approx(counted, rel=0.25 if kind in FEW_SENTENCES else 0.15)


def test_bytes_by_four_would_be_far_off_for_json_and_logs() -> None:
    for text in (KINDS["compact JSON"](), log()):
        counted = tokens.exact(text, MODEL)
        assert counted is not None
        assert len(text) / 4 < 0.75 * counted


def test_nothing_has_no_tokens_and_anything_has_some() -> None:
    assert tokens.estimate("") == 0
    assert all(tokens.estimate(char) >= 1 for char in "aZ0 \n.é中я😀\u200d\u0301\ud800")


def test_a_long_text_is_looked_at_in_parts() -> None:
    part = json.dumps(records(50)) + log() + english()
    one, many = tokens.estimate(part), tokens.estimate(part * 40)
    assert len(part * 40) > 4 * tokens.MAX_CHARS
    assert many == pytest.approx(40 * one, rel=0.05)


def test_a_huge_text_takes_no_longer_than_a_long_one() -> None:
    text = log() * 1000
    assert len(text) > 2**24
    started = time.monotonic()
    tokens.estimate(text)
    assert time.monotonic() - started < 20


def test_texts_that_lead_nowhere_take_no_quadratic_time() -> None:
    started = time.monotonic()
    for char in ("A", "a", " ", "\n", "'", "é", "_", "я", "\u0301", "😀"):
        assert tokens.estimate(char * 100_000) > 0
        assert tokens.estimate(f"{char} " * 50_000) > 0
    assert time.monotonic() - started < 60


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=200))
def test_the_pieces_of_any_text_are_the_text(text: str) -> None:
    pieces = tokens.pieces_of(text)
    assert sum(len(piece) * number for piece, number in pieces.items()) == len(text)
    assert all(tokens.kind_of(piece)[0] in tokens.COSTS for piece in pieces)
    assert (tokens.estimate(text) > 0) == bool(text)


def test_every_character_has_a_cost() -> None:
    step = 97
    for start in range(step):
        for code_point in range(
            start * (sys.maxunicode // step), (start + 1) * (sys.maxunicode // step), step
        ):
            for text in (chr(code_point), f" {chr(code_point)}b"):
                assert tokens.estimate(text) > 0, hex(code_point)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-5", "o200k_base"),
        ("gpt-5.2-pro", "o200k_base"),
        ("openai/gpt-4o-mini", "o200k_base"),
        ("gpt-4.1-nano-2025-04-14", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("ft:gpt-4o-2024-08-06:shop::abc", "o200k_base"),
        ("gpt-oss-120b", "o200k_harmony"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("claude-sonnet-4-5", None),
        ("gemini-2.5-pro", None),
        ("o33", None),
        ("", None),
    ],
)
def test_a_model_has_the_vocabulary_that_its_maker_published(model: str, encoding: str | None) -> None:
    assert tokens.encoding_of(model) == encoding
    assert (tokens.exact("hello", model) is None) == (encoding is None)


def test_exact_counts_are_those_of_the_vocabulary() -> None:
    assert tokens.exact("hello world", MODEL) == 2
    assert tokens.exact("", MODEL) == 0
    # What stands for an end of text in the vocabulary is a text like any other in a message.
    assert tokens.exact("<|endoftext|>", MODEL) == 7
    assert tokens.exact("a\ud800b", MODEL) == tokens.exact("a?b", MODEL)


def test_without_the_extra_nothing_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "toktok", None)
    tokens.counter.cache_clear()
    try:
        assert tokens.exact("hello", MODEL) is None
        assert tokens.estimate("hello world") == 2
    finally:
        tokens.counter.cache_clear()

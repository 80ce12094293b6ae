"""The texts of the project use the field's words: help, messages, docstrings, docs and the page."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import pytest

from xcor_daemon.cli import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xcor_daemon"
SITE = ROOT / "site"
# Pattern -> the reason for it, or the word to write instead. All are matched in any case.
BANNED = {
    r"\brooms?\b": "a metaphor: space (of a disk), module, package",
    r"\bcorridors?\b": "a metaphor: main sequence",
    r"\b(tells?|telling|told)\b": "software does not speak: print, report, inform; distinguish",
    r"\b(says?|saying|said)\b": "software and files do not speak: show, report, contain, state",
    r"\b(hears?|heard|listens to)\b": "software does not hear: receive",
    r"\bobey(s|ed|ing)?\b": "software does not obey: run, apply, follow",
    r"\b(knows|knew)\b": "software does not know: has, finds, accepts",
    r"\b(looks?|looked|looking) (again|through|into)\b": "software does not look: retry, index",
    r"\bsilent\b": "a service is not responding; a lease expires",
    r"\bwithout a word\b": "name the message that is missing",
    r"\bwhat (is|was|are|were|has|had|it|they|there|comes?|came|becomes?|became)\b": "use the noun",
    r"(?:^|[.!?:;|>] )(what|who|whoever)\b(?! :|[^.!?]*\?)": "use the noun; a question may",
    r"\b(for|to|of|by|from|and|or|than|as) (who|whoever)\b": "name them: users who ...",
    r"(?<!there )\bis no (?!longer\b|more\b)\w+": "is not a valid ..., is not a ...",
    r"\bclearest\b": "with the highest SNR",
    r"\bpriced\b": "estimated",
    r"\b(verdict|loudness|skirts?|painters?|crew|strangers?)\b": "see CONTRIBUTING.md",
    r"(?<![.\w])shelf\b": "channel buffer (the folder .shelf keeps its name)",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bgiven up\b": "failed after ... attempts",
    r"\bbeats?\b": "overrides",
    r"\bgo(es)? on\b": "continue",
    r"\btroubles?\b": "failure, error",
    r"\banew\b": "again",
    r"\bout of reach\b": "unreachable",
    r"\bfor want of\b": "because of missing ...",
    r"\bto order\b": "injected faults",
    r"\bmakes? nothing\b": "produces no ...",
}


def strings_of_python(path: Path) -> Iterator[tuple[int, str]]:
    """Strings, docstrings and comments of a module; {} stands for the values of an f-string."""
    source = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
    tree = ast.parse(source)
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            parts |= {id(v) for v in node.values}
            yield node.lineno, "".join(texts)
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in parts:
            yield node.lineno, " ".join(node.value.split())


JS_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<regex>(?<=[(,=:?&|!\s])/(?![/*\s])(?:\\.|\[(?:\\.|[^\]\n])*\]|[^/\\\n\[])+/[dgimsuvy]*)"
    r'|(?P<text>"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)',
    re.DOTALL,
)


def strings_of_javascript(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text()
    for found in JS_TOKEN.finditer(text):
        if found["text"]:
            line = text.count("\n", 0, found.start()) + 1
            yield line, re.sub(r"\$\{[^{}]*\}", "{}", found["text"][1:-1])


def texts_of_html(path: Path) -> Iterator[tuple[int, str]]:
    """Text between the tags and in the attributes that people read."""
    pattern = r'>([^<>]+)<|\b(?:alt|title|placeholder|aria-label|content)="([^"]*)"'
    text = path.read_text()
    for found in re.finditer(pattern, text):
        line = text.count("\n", 0, found.start()) + 1
        yield line, " ".join((found[1] or found[2]).split())


def paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """Paragraphs, items and rows of a Markdown file, without its code."""
    text = re.sub(
        r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), path.read_text(), flags=re.M | re.S
    )
    number = 1
    for block in re.split(r"(\n\n+|\n(?=[-|#]|\d+\. ))", text):
        if block.strip():
            plain = re.sub(r"`[^`]*`", "`", re.sub(r"\]\([^)]*\)", "]", block))
            yield number, " ".join(plain.split())
        number += block.count("\n")


def texts_of_json(path: Path) -> Iterator[tuple[int, str]]:
    def walk(value: object) -> Iterator[str]:
        for each in value.values() if isinstance(value, dict) else value:
            if isinstance(each, str):
                yield each
            elif isinstance(each, dict | list):
                yield from walk(each)

    yield from ((0, text) for text in walk(json.loads(path.read_text())))


def help_texts() -> Iterator[tuple[int, str]]:
    for command in (main, *main.commands.values()):
        yield 0, " ".join((command.help or "").split())
        for option in command.params:
            yield 0, (isinstance(option, click.Option) and option.help) or ""


def sources() -> dict[str, Callable[[], Iterator[tuple[int, str]]]]:
    """Name of a file -> a function that reads its texts."""
    found: dict[str, Callable[[], Iterator[tuple[int, str]]]] = {"--help": help_texts}
    for paths, read in (
        (PACKAGE.rglob("*.py"), strings_of_python),
        ((SITE / "js").rglob("*.js"), strings_of_javascript),
        (SITE.glob("*.html"), texts_of_html),
        ([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], paragraphs),
        ([PACKAGE / "request/limits.json", PACKAGE / "web/services.json"], texts_of_json),
    ):
        found |= {path.relative_to(ROOT).as_posix(): partial(read, path) for path in sorted(paths)}
    return found


def banned_in(text: str) -> list[str]:
    """The banned words of a text, each with its reason; a single word is a name, not a text."""
    if " " not in text.strip():
        return []
    return [
        f"{found[0].strip()!r} ({reason})"
        for pattern, reason in BANNED.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


SOURCES = sources()


@pytest.mark.parametrize("name", SOURCES)
def test_no_banned_word_is_left(name):
    found = [
        f"{name}:{line}: {word}: {text}"
        for line, text in SOURCES[name]()
        for word in banned_in(text)
    ]

    assert not found, "\n".join(found)


def test_two_metaphors_left_the_project():
    pattern = re.compile(r"(?<![a-z])(rooms?|corridors?)(?![a-z])", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {word[0]}"
        for folder in ("xcor_daemon", "site/js", "scripts", "systemd", "docker", "docs", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".js", ".mjs", ".md", ".sh", ".yaml", ".service", ".json", "")
        and path.is_file()
        and not {"vendor", "data", "node_modules", "__pycache__"} & set(path.parts)
        and path != Path(__file__)
        for word in pattern.finditer(path.read_text(errors="replace"))
    ]

    assert not found

"""scripts/lint finds violations: browsers, likely mistakes, types, spelling."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

VENV = Path(sys.prefix)
# JavaScript that browsers of May 2024 lack, by MDN's tables -> part of the rule's name.
TOO_NEW = {
    "new Map().values().map((x) => x);": "iterator-prototype-map",  # Safari 18.4
    "export const a = (table) => table.keys().filter(Boolean);": "no-restricted-syntax",
    "export const b = (rows) => rows.drop(1);": "iterator-prototype-drop",
    "export const c = (one, other) => one.union(other);": "set-prototype-union",  # Firefox 127
    "Promise.try(() => 1);": "promise-try",  # Chrome 128
    'RegExp.escape("a.b");': "regexp-escape",  # Chrome 136
    'Uint8Array.fromBase64("eA==");': "uint8array-frombase64",
    "Temporal.Now.instant();": "temporal",
    "new Float16Array(2);": "float16array",  # Safari and Firefox had it before Chrome 135
    "scheduler.yield();": "compat",  # not in Safari
    "/(?<a>x)|(?<a>y)/.test('x');": "regexp-duplicate-named-capturing-groups",
}
MISTAKES = {
    "export const d = (x) => x == 1;": "eqeqeq",
    "export const e = () => nowhere;": "no-undef",
    "const unused = 1;": "no-unused-vars",
    "var f = 1; f;": "no-var",
    "export function g(x) { for (const x of []) x(); return x; }": "no-shadow",
}
GOOD = [
    "Map.groupBy([1], (x) => x);",  # Safari 17.4, Firefox 119
    "[3, 1].toSorted();",
    "export const h = (table) => [...table.values()].map((x) => x);",
    "export const i = (table) => Object.values(table).map((x) => x);",
    "Promise.withResolvers();",
]


def tool(name: str, *arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run one of the tools that scripts/lint runs, on a text as if it lay in the tree."""
    command = [ROOT / "scripts/linters/run", VENV, name, *arguments]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)


def eslint(text: str, name: str) -> list[tuple[int, str]]:
    """Line and rule of what ESLint refuses."""
    config = "scripts/linters/eslint.config.js"
    arguments = ("--config", config, "--format", "json", "--stdin", "--stdin-filename", name)
    done = tool("eslint", *arguments, text=text)
    assert done.returncode in (0, 1), done.stderr
    [result] = json.loads(done.stdout)
    return [(message["line"], str(message["ruleId"])) for message in result["messages"]]


def test_too_new_javascript_and_mistakes_are_refused_and_nothing_else():
    lines = [*GOOD, *TOO_NEW, *MISTAKES]
    refused = eslint("\n".join(lines), "site/js/new.js")

    assert {line for line, _ in refused} == set(range(len(GOOD) + 1, len(lines) + 1))
    for number, (line, rule) in enumerate((TOO_NEW | MISTAKES).items(), len(GOOD) + 1):
        assert any(rule in name for at, name in refused if at == number), line


def test_too_new_styles_are_refused():
    refused = eslint(
        "a { color: light-dark(#000, #fff); }\n"  # Safari 17.5
        "@property --b { syntax: '<color>'; inherits: true; initial-value: red; }\n"  # Firefox 128
        "c { interpolate-size: allow-keywords; }\n"  # Chrome only
        "d { colour: red; }\n",
        "site/css/new.css",
    )

    assert refused == [
        (2, "css/use-baseline"),
        (3, "css/use-baseline"),
        (4, "css/no-invalid-properties"),
    ]


def test_tests_of_the_page_may_use_what_node_has_and_no_browser():
    assert eslint("RegExp.escape('a'); process.exit();\n", "tests/site/new.test.mjs") == []


@pytest.mark.parametrize("place", ["docs/new.md", "site/js/new.js", "xcor_daemon/new.py"])
def test_a_misspelt_word_is_named_and_the_fields_own_are_known(place: str):
    text = '"Stacks of correlogrammes; FDSN, miniSEED and colours are known, seperate is not."'
    config = ("--config", "scripts/linters/cspell.config.json", "--no-progress", "--no-summary")
    done = tool("cspell", *config, "--words-only", f"stdin://{place}", text=text)

    assert done.returncode == 1
    assert done.stdout.split() == ["correlogrammes", "seperate"]


def test_a_new_module_must_have_types(tmp_path: Path):
    (tmp_path / "new.py").write_text("def double(x): return 2 * x\n")
    command = [VENV / "bin/mypy", tmp_path / "new.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 1
    assert "[no-untyped-def]" in done.stdout


def test_a_check_that_fails_ends_the_run(tmp_path: Path):
    done = subprocess.run([ROOT / "scripts/lint", tmp_path], capture_output=True, text=True)

    lines = [line for line in done.stdout.splitlines() if " in 0." in line]
    assert done.returncode == 1
    assert len(lines) == 6
    assert all("FAILED" in line for line in lines)

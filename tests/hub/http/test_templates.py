"""Pages in the reader's language: every text has a Hindi translation, and each keeps its blanks."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from prahari_hub.http.language import catalogue, translate
from prahari_hub.http.words import WORDS

BLANK = re.compile(r"%\(\w+\)s|\{\w+(?:![rs])?(?::[^{}]+)?\}")


@pytest.fixture(scope="module")
def tool(root: Path) -> ModuleType:
    """hub/ui/catalogue.py, which knows where texts stand."""
    spec = importlib.util.spec_from_file_location("catalogue_tool", root / "hub" / "ui" / "catalogue.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_every_text_of_the_console_has_a_hindi_translation(tool: ModuleType) -> None:
    assert tool.untranslated("hi") == []


def test_nothing_is_translated_that_nobody_says(tool: ModuleType) -> None:
    assert set(catalogue("hi")) - set(tool.messages()) == set()


def test_a_translation_keeps_the_blanks_of_its_text() -> None:
    wrong = {
        text: said
        for text, said in catalogue("hi").items()
        if sorted(BLANK.findall(text)) != sorted(BLANK.findall(said))
    }
    assert wrong == {}


def test_english_says_the_text_itself_and_an_unknown_one_stays_as_it_is() -> None:
    assert translate("en", "Acknowledge") == "Acknowledge"
    assert translate("hi", "Acknowledge") == "संज्ञान लें"
    assert translate("hi", "not a text of ours") == "not a text of ours"


def test_every_word_of_the_vocabulary_is_translated() -> None:
    words = {text for group in WORDS.values() for text in group.values()}
    assert words <= set(catalogue("hi"))

"""What is refused is told in the reader's language on pages, and in English below /api/."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pydantic
import pytest
from prahari_hub.access import sessions, users
from prahari_hub.errors import Conflict, Forbidden, Invalid
from prahari_hub.http.actor import Role, system
from prahari_hub.http.expected import EXPECTED
from prahari_hub.http.language import say
from prahari_hub.store import Store, Unit
from prahari_hub.texts import Checked, Series, Term, Text
from prahari_wire.base import Refused, validate
from prahari_wire.camera import CameraConfig
from prahari_wire.owner import SENTENCES

HINDI = "उपयोगकर्ता ravi पहले से है; कोई दूसरा नाम चुनें।"
ENGLISH = "There is already a user ravi; choose another name."
PAGE = {"accept": "text/html"}


@pytest.fixture
async def asha(client: httpx.AsyncClient, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of an admin whose account is set to Hindi, with no cookie that says so."""

    def work(unit: Unit) -> sessions.SignedIn:
        password = "four unrelated words here"
        users.add(unit, system("test"), "asha", password=password, role=Role.ADMIN, locale="hi")
        users.add(unit, system("test"), "ravi", password=password, role=Role.OPERATOR)
        return sessions.open_session(unit, "asha")

    signed_in = store.write_sync(work)
    client.cookies.set("prahari_session", signed_in.secret)
    client.headers["x-csrf-token"] = signed_in.csrf
    yield client


async def test_a_refused_form_says_why_in_the_accounts_language(asha: httpx.AsyncClient) -> None:
    form = {"name": "ravi", "password": "some other four words", "role": "operator"}
    answer = await asha.post("/users", data=form)
    assert answer.status_code == 422
    assert HINDI in answer.text and ENGLISH not in answer.text


async def test_the_api_says_the_english_whoever_asks(asha: httpx.AsyncClient) -> None:
    body = {"name": "ravi", "password": "some other four words", "role": "operator"}
    answer = await asha.post("/api/v1/users", json=body, headers={"accept-language": "hi"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == ENGLISH


async def test_a_part_of_an_error_is_in_the_readers_language_too(asha: httpx.AsyncClient) -> None:
    answer = await asha.post("/users/ravi/password", data={"password": "short"})
    assert "यह पासवर्ड नहीं चल सकता: कम से कम 12 अक्षर चाहिए।" in answer.text


@pytest.mark.parametrize("accept", ["text/html", "*/*"], ids=["page", "fragment"])
async def test_what_a_page_of_its_own_or_a_notice_says_is_in_the_accounts_language(
    asha: httpx.AsyncClient, accept: str
) -> None:
    answer = await asha.post("/incidents/none/ack", headers={"accept": accept, "hx-request": "true"})
    assert answer.status_code == 404
    said = answer.json()["detail"] if accept == "*/*" else answer.text.replace("&#39;", "'")
    assert "'none' आईडी की कोई घटना नहीं है।" in said


async def test_a_page_that_was_open_too_long_says_so_in_the_accounts_language(
    asha: httpx.AsyncClient,
) -> None:
    answer = await asha.post("/users", data={}, headers=PAGE | {"x-csrf-token": "old"})
    assert answer.status_code == 403
    assert "इसे फिर लोड करके प्रयास करें।" in answer.text and '<html lang="hi"' in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"accept-language": "hi-IN,hi;q=0.9"}, {"cookie": "prahari_locale=hi"}],
    ids=["browser", "cookie"],
)
async def test_before_log_in_an_error_follows_cookie_and_browser(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.get("/no-such-page", headers=PAGE | headers)
    assert answer.status_code == 404 and "ऐसा कोई पृष्ठ नहीं है।" in answer.text


def test_words_of_the_vocabulary_are_translated_within_an_error_and_a_persons_own_stay() -> None:
    refused = Forbidden(
        "this needs the role {roles}; yours is {role}",
        roles=Series((Term("role", Role.OPERATOR), Term("role", Role.TECHNICIAN)), " or "),
        role=Term("role", Role.AUDITOR),
    )
    assert str(refused) == "this needs the role operator or technician; yours is auditor"
    assert say("en", refused) == str(refused)
    assert say("hi", refused) == "इसके लिए संचालक या तकनीशियन की भूमिका चाहिए; आपकी भूमिका लेखा-परीक्षक है।"
    named = Conflict("There is already a user {name}; choose another name.", name="Normal")
    assert say("hi", named) == "उपयोगकर्ता Normal पहले से है; कोई दूसरा नाम चुनें।"


def test_an_error_keeps_its_fields_and_a_sentence_without_values_its_braces() -> None:
    refused = Invalid("at least {n} characters are needed", ("password", "longer"), n=12)
    assert (str(refused), refused.fields) == (
        "at least 12 characters are needed",
        [("password", "longer")],
    )
    assert str(Text("{not a blank")) == "{not a blank" == say("hi", Text("{not a blank"))


@pytest.mark.parametrize(
    ("address", "form", "said"),
    [
        (
            "/topology/assets",
            {"id": "cab", "kind": "lamp", "name": "C"},
            "'lamp' उपस्कर का कोई प्रकार नहीं है।",
        ),
        (
            "/windows",
            {
                "kind": "maintenance",
                "scope_type": "zone",
                "scope_id": "none",
                "ends_at": "soon",
                "reason": "why",
            },
            "तारीख़ और समय चुनें।",
        ),
        (
            "/windows",
            {
                "kind": "maintenance",
                "scope_type": "zone",
                "scope_id": "none",
                "ends_at": "2999-01-01T00:00",
                "reason": "why",
            },
            "ज़ोन: 'none' आईडी से कुछ दर्ज नहीं है।",
        ),
        ("/evidence/new", {"kind": "site", "site": "none"}, "बताएँ कब से कब तक।"),
        ("/displays/none/preview", {"text": "GO", "reason": "why"}, "none नाम का कोई डिस्प्ले नहीं है।"),
        ("/devices/none/twin", {"version": "0", "document": "{}"}, "none नाम का कोई उपकरण नहीं है।"),
        (
            "/tokens",
            {"name": "x", "role": "operator", "days": "999"},
            "body.days: यह अधिकतम 366 होना चाहिए",
        ),
    ],
    ids=["topology", "no time", "place", "evidence", "display", "device", "form"],
)
async def test_each_slices_forms_say_it_in_hindi(
    asha: httpx.AsyncClient, address: str, form: dict[str, str], said: str
) -> None:
    answer = await asha.post(address, data=form, headers=PAGE)
    assert answer.status_code in (404, 422)
    assert said in answer.text.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "x"),
        (int, 1.5),
        (float, "x"),
        (bool, "x"),
        (str, 1),
        (list[int], 1),
        (dict[str, int], 1),
        (pydantic.conint(gt=1), 0),
        (pydantic.conint(ge=1), 0),
        (pydantic.conint(lt=1), 2),
        (pydantic.conint(le=1), 2),
        (pydantic.constr(min_length=1), ""),
        (pydantic.constr(min_length=2), ""),
        (pydantic.constr(max_length=2), "abc"),
        (pydantic.constr(pattern="^a$"), "b"),
        (pydantic.conlist(int, max_length=1), [1, 2]),
        (pydantic.AwareDatetime, "2026-01-01T00:00"),
        (pydantic.AwareDatetime, "soon"),
        (Role, "king"),
    ],
    ids=str,
)
def test_what_pydantic_expects_is_said_in_hindi(kind: object, value: object) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        pydantic.TypeAdapter(kind).validate_python(value)
    message = refused.value.errors()[0]["msg"]
    said = say("hi", Checked(f"body.x: {message}"))
    assert said.startswith("body.x: ") and said != f"body.x: {message}"
    assert say("en", Checked(message)) == message


BOW = [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ({"source": "rtsp://me:secret@cam/1"}, "source: पते में उपयोगकर्ता या पासवर्ड नहीं होना चाहिए"),
        ({"source": "/clip.mp4", "fps": -1}, "fps: यह "),
        ({"source": "/clip.mp4", "colour": 1}, "colour: यह यहाँ नहीं दिया जा सकता"),
        (
            {
                "source": "/clip.mp4",
                "rules": [{"type": "ObjectsInside", "id": "a", "name": "A", "region": BOW}],
            },
            "बहुभुज स्वयं को काटता है (किनारा 1, किनारे 3 से मिलता है)",
        ),
    ],
    ids=["password", "bound", "unknown", "polygon"],
)
def test_what_the_wire_contract_refuses_is_said_in_hindi(camera: dict[str, object], said: str) -> None:
    with pytest.raises(Refused) as refused:
        validate(CameraConfig, camera)
    assert said in say("hi", Checked(refused.value.detail))


def test_every_sentence_about_an_owners_terms_has_a_translation() -> None:
    assert [sentence for sentence in SENTENCES.values() if say("hi", sentence) == sentence] == []


@pytest.mark.parametrize(
    ("english", "hindi"),
    [
        ("cancelled by asha", "asha ने रद्द किया"),
        ("“ि” has a vowel sign or mark without its letter: correct the spelling.", "“ि” में मात्रा या चिह्न"),
        ("type: Field required", "type: यह देना आवश्यक है"),
        ("what no catalogue knows: 7", "what no catalogue knows: 7"),
    ],
    ids=["hub", "display", "field", "unknown"],
)
def test_finished_english_is_known_by_its_pattern_and_else_stays(english: str, hindi: str) -> None:
    assert say("hi", english).startswith(hindi)
    assert say("en", english) == english


def test_what_is_translated_of_devices_and_of_the_wire_contract_is_still_said(root: Path) -> None:
    """A sentence that its author rewords needs its pattern reworded: by its longest part without a blank."""
    sources = "".join(
        file.read_text()
        for program in ("agent", "wire", "hub")
        for file in (root / program / "src").rglob("*.py")
        if file.name != "expected.py"
    )
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # a text of several lines is one
    of_pydantic = re.compile(r"Input |String |Field |Extra |Unable |\{kind\} should ")
    parts = {text: max(re.split(r"\{+\w+\}+", text), key=len) for text in EXPECTED}
    unsaid = [text for text, part in parts.items() if part not in sources and not of_pydantic.match(text)]
    assert unsaid == []

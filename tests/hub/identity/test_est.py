"""The whole EST path with curl and openssl against a real server, its own authority pinned."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prahari_hub.broker.callout import Peer
from prahari_hub.http.limits import RateLimit
from prahari_hub.identity import certificates
from prahari_hub.identity.ca import serial_text, spki_sha256
from prahari_hub.identity.claims import Purpose, listed, revoke
from prahari_hub.identity.service import CLAIM_REFUSED
from prahari_hub.identity.tokens import ClaimToken, new_token, read_token

from .conftest import TECHNICIAN, openssl

A, B = "pune-cam-01", "pune-ecb-01"


async def settled(condition) -> None:
    for _ in range(300):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not settle")


async def connect(desk, certificate: x509.Certificate) -> None:
    """What the callout does when the broker lets a device in."""
    peer = Peer.of(certificate)
    assert desk.identity.admission.refusal(peer) is None
    desk.identity.admission.connected(peer)

    async def current() -> bool:
        return (await desk.serials(peer.device)).get(peer.serial) == "current"

    await settled(current)


async def enrolled(desk, box, *, key: str = "key") -> tuple[x509.Certificate, Path]:
    """A device that is in service, and its certificate's file."""
    answer = await desk.enrol(box, await desk.claim(box.name), key=key)
    assert answer.status == 200, answer.body
    (certificate,) = answer.certificates
    await connect(desk, certificate)
    return certificate, box.keep(certificate)


async def test_cacerts_names_the_root_that_the_seed_pins(desk) -> None:
    answer = await desk.curl("/.well-known/est/cacerts")
    assert answer.status == 200
    assert desk.identity.authority.root_spki_sha256 in {
        spki_sha256(c.public_key()) for c in answer.certificates
    }


async def test_a_device_enrols_and_gets_the_name_that_the_claim_says(desk, box) -> None:
    answer = await desk.enrol(box(A), await desk.claim(A), subject="/CN=pune-ecb-01/O=Elsewhere")
    assert answer.status == 200
    (certificate,) = answer.certificates
    subject = {item.oid: item.value for item in certificate.subject}
    assert subject == {NameOID.COMMON_NAME: A, NameOID.ORGANIZATION_NAME: "Pune"}
    extension = certificate.extensions.get_extension_for_class
    assert list(extension(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extension(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.UniformResourceIdentifier
    ) == [f"urn:prahari:pune:{A}"]
    assert not extension(x509.BasicConstraints).value.ca
    usage = extension(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_cert_sign
    life = certificate.not_valid_after_utc - desk.clock()
    assert timedelta(days=89, hours=23) < life <= timedelta(days=90)
    assert desk.clock() - certificate.not_valid_before_utc >= timedelta(hours=24)
    openssl("verify", "-CAfile", str(desk.identity.authority.ca_file), str(box(A).keep(certificate)))


async def test_fifty_uses_of_one_token_at_once_give_one_certificate(desk, box) -> None:
    token, device = await desk.claim(A), box(A)
    for number in range(50):
        device.key(f"key{number}")
    answers = await asyncio.gather(*(desk.enrol(device, token, key=f"key{number}") for number in range(50)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 49
    assert len(await desk.serials(A)) == 1


async def test_the_same_key_soon_after_gets_the_same_certificate(desk, box) -> None:
    token = await desk.claim(A)
    answers = await asyncio.gather(*(desk.enrol(box(A), token) for _ in range(5)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.certificates[0].serial_number for answer in answers}) == 1


async def test_the_same_key_after_the_retry_window_is_refused(desk, box) -> None:
    token = await desk.claim(A)
    assert (await desk.enrol(box(A), token)).status == 200
    desk.clock.shift = timedelta(minutes=16)
    assert (await desk.enrol(box(A), token)).status == 401


async def test_another_key_with_a_used_token_is_refused_and_alarms(desk, box) -> None:
    alarms: list[tuple[str, ...]] = []
    desk.identity.alarm = lambda _unit, *said: alarms.append(said)
    token = await desk.claim(A)
    assert (await desk.enrol(box(A), token)).status == 200
    answer = await desk.enrol(box(A), token, key="other")
    assert (answer.status, answer.detail) == (401, CLAIM_REFUSED)
    assert "claim.second_key" in await desk.audited()
    assert [said[:2] for said in alarms] == [("claim.second_key", A)]


@pytest.mark.parametrize("case", ["unknown", "wrong", "typo", "elsewhere", "expired", "revoked", "empty"])
async def test_every_bad_claim_gets_the_same_answer(desk, box, case: str) -> None:
    token, user = await desk.claim(A), A
    good = read_token(token)
    match case:
        case "unknown":
            token = new_token().text
        case "wrong":
            token = ClaimToken(good.id, new_token().secret).text
        case "typo":
            token = token[:-1] + ("0" if token[-1] != "0" else "1")
        case "elsewhere":
            user = B
        case "expired":
            desk.clock.shift = timedelta(days=8)
        case "revoked":
            await desk.store.write(lambda unit: revoke(unit, TECHNICIAN, good.id))
        case "empty":
            token = ""
    answer = await desk.enrol(box(A), token, user=user)
    assert (answer.status, answer.detail) == (401, CLAIM_REFUSED)
    assert not await desk.serials(A)


async def test_ten_wrong_secrets_lock_a_claim(desk, box) -> None:
    token = await desk.claim(A)
    for _ in range(10):
        guess = ClaimToken(read_token(token).id, new_token().secret).text
        assert (await desk.enrol(box(A), guess)).status == 401
    assert (await desk.enrol(box(A), token)).status == 401
    (claim,) = await desk.store.read(lambda conn: listed(conn, desk.clock()))
    assert (claim.state, claim.failures) == ("locked", 10)
    assert "claim.lock" in await desk.audited()


async def test_a_token_is_read_as_people_write_it(desk, box) -> None:
    token = (await desk.claim(A)).lower().replace("0", "o").replace("1", "l")
    token = "f" + "l" + "t1" + token[4:]
    assert (await desk.enrol(box(A), token)).status == 200


async def test_an_address_that_tries_too_often_has_to_wait(desk, box) -> None:
    now = [0.0]
    limit = RateLimit(burst=3, per_s=0.5, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert limit.take("b") == 0
    now[0] = 2
    assert limit.take("a") == 0


@cache
def _rsa_key() -> bytes:
    return openssl("genrsa", "2048")


def _rsa(folder: Path) -> bytes:
    (folder / "rsa.pem").write_bytes(_rsa_key())
    return base64.encodebytes(
        openssl("req", "-new", "-key", str(folder / "rsa.pem"), "-subj", "/CN=x", "-outform", "DER")
    )


def _other_curve(folder: Path) -> bytes:
    openssl("ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", str(folder / "p384.pem"))
    return openssl("req", "-new", "-key", str(folder / "p384.pem"), "-subj", "/CN=x")


def _forged(folder: Path) -> bytes:
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(folder / "f.pem"))
    der = bytearray(
        openssl("req", "-new", "-key", str(folder / "f.pem"), "-subj", "/CN=pune-cam-01", "-outform", "DER")
    )
    der[der.index(b"pune-cam-01")] ^= 1
    return base64.encodebytes(bytes(der))


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (_rsa, 400, "P-256"),
        (_other_curve, 400, "P-256"),
        (_forged, 400, "not signed by its own key"),
        (lambda _: b"A" * 9000, 413, "8192"),
        (lambda _: b"\xff\xfe", 400, "neither base64 nor PEM"),
        (lambda _: base64.b64encode(b"0" * 100), 400, "no PKCS#10"),
        (lambda _: b"", 400, "no PKCS#10"),
    ],
    ids=["rsa", "p384", "forged", "huge", "binary", "garbage", "empty"],
)
async def test_a_bad_request_is_refused_and_burns_no_token(
    desk, box, tmp_path: Path, make, status: int, said: str
) -> None:
    token = await desk.claim(A)
    answer = await desk.curl("/.well-known/est/simpleenroll", "-u", f"{A}:{token}", data=make(tmp_path))
    assert answer.status == status
    assert said in answer.detail
    assert (await desk.enrol(box(A), token)).status == 200


async def test_a_key_of_another_device_is_refused(desk, box) -> None:
    await enrolled(desk, box(A))
    copied = box(B)
    copied.key().write_bytes(box(A).key().read_bytes())
    answer = await desk.enrol(copied, await desk.claim(B))
    assert answer.status == 400
    assert "belongs to another device" in answer.detail


async def test_enrolment_without_a_password_says_what_to_send(desk, box) -> None:
    answer = await desk.curl("/.well-known/est/simpleenroll", "-i", data=box(A).request())
    assert answer.status == 401
    assert b"www-authenticate: Basic" in answer.body


async def test_a_device_renews_and_the_old_certificate_stays_good_until_the_new_one_connects(
    desk, box
) -> None:
    old, file = await enrolled(desk, box(A))
    answer = await desk.reenrol(box(A), file, key="second", subject=f"/CN={B}")
    assert answer.status == 200
    (new,) = answer.certificates
    assert new.subject == old.subject
    assert await desk.serials(A) == {serial_text(old): "current", serial_text(new): "next"}
    await connect(desk, new)
    assert await desk.serials(A) == {serial_text(new): "current"}
    assert desk.identity.admission.refusal(Peer.of(old)) == "the certificate is revoked or has been replaced"
    assert (await desk.reenrol(box(A), file, key="third")).status == 403


async def test_a_renewal_whose_answer_was_lost_is_answered_again(desk, box) -> None:
    _, file = await enrolled(desk, box(A))
    first = await desk.reenrol(box(A), file, key="second")
    again = await desk.reenrol(box(A), file, key="second")
    assert first.certificates == again.certificates
    other = await desk.reenrol(box(A), file, key="third")
    assert serial_text(first.certificates[0]) not in await desk.serials(A)
    assert serial_text(other.certificates[0]) in await desk.serials(A)


async def test_a_renewal_with_the_same_key_gives_another_certificate(desk, box) -> None:
    old, file = await enrolled(desk, box(A))
    answer = await desk.reenrol(box(A), file, key="key")
    (new,) = answer.certificates
    assert new.serial_number != old.serial_number
    assert new.public_key() == old.public_key()


async def test_a_device_that_never_connected_keeps_its_certificate_while_it_renews(desk, box) -> None:
    answer = await desk.enrol(box(A), await desk.claim(A))
    (first,) = answer.certificates
    file = box(A).keep(first)
    (lost,) = (await desk.reenrol(box(A), file, key="second")).certificates
    (new,) = (await desk.reenrol(box(A), file, key="third")).certificates
    assert await desk.serials(A) == {serial_text(first): "next", serial_text(new): "next"}
    assert desk.identity.admission.refusal(Peer.of(lost)) is not None
    await connect(desk, new)
    assert await desk.serials(A) == {serial_text(new): "current"}


async def test_routes_for_devices_refuse_who_shows_no_certificate(desk, box) -> None:
    await enrolled(desk, box(A))
    forged = ["-H", f"X-SSL-Client-Cert: CN={A}", "-H", f"X-Forwarded-Client-Cert: Subject=CN={A}"]
    assert (await desk.curl("/device/v1/keys", *forged)).status == 401
    assert (await desk.curl("/.well-known/est/simplereenroll", data=box(A).request("second"))).status == 401


async def test_an_enrolled_device_reads_the_hubs_signing_keys(desk, box) -> None:
    _, file = await enrolled(desk, box(A))
    answer = await desk.curl("/device/v1/keys", "--cert", str(file), "--key", str(box(A).key()))
    found = json.loads(answer.body)
    assert (
        base64.b64decode(found["keys"][found["current"]])
        == desk.identity.signer.public_keys[found["current"]]
    )


async def test_a_revoked_device_can_do_nothing_and_is_kicked(desk, box) -> None:
    certificate, file = await enrolled(desk, box(A))
    open_claim = await desk.claim(A)
    await desk.store.write(lambda unit: desk.identity.revoke(unit, TECHNICIAN, A, "stolen"))
    await desk.identity.close()
    assert desk.kicked == [A]
    assert desk.identity.admission.refusal(Peer.of(certificate)) == "the device is not in service"
    assert (await desk.reenrol(box(A), file, key="second")).status == 403
    assert (await desk.curl("/device/v1/keys", "--cert", str(file), "--key", str(box(A).key()))).status == 403
    assert (await desk.enrol(box(A), open_claim, key="second")).status == 401
    answer = await desk.enrol(box(A), await desk.claim(A))
    assert answer.status == 400
    assert "was revoked" in answer.detail
    assert (await desk.enrol(box(A), await desk.claim(A), key="fresh")).status == 200


async def test_a_replacement_takes_the_old_box_out_at_once(desk, box) -> None:
    old, _ = await enrolled(desk, box(A))
    answer = await desk.enrol(box(A), await desk.claim(A, purpose=Purpose.REPLACE), key="new-box")
    assert answer.status == 200
    await desk.identity.close()
    assert desk.kicked == [A]
    assert desk.identity.admission.refusal(Peer.of(old)) is not None


async def test_a_box_that_was_taken_out_of_service_and_speaks_again_is_written_down_once(desk, box) -> None:
    alarms: list[tuple[str, ...]] = []
    desk.identity.alarm = lambda _unit, *said: alarms.append(said)
    _, file = await enrolled(desk, box(A))
    await desk.enrol(box(A), await desk.claim(A, purpose=Purpose.REPLACE), key="new-box")
    for _ in range(3):
        assert (
            await desk.curl("/device/v1/keys", "--cert", str(file), "--key", str(box(A).key()))
        ).status == 403
    await desk.identity.close()
    assert (await desk.audited()).count("device.stranger") == 1
    assert [said[:2] for said in alarms] == [("device.stranger", A)]


async def test_a_certificate_of_another_authority_dies_in_the_handshake(desk, box, tmp_path: Path) -> None:
    key = box(A).key("self")
    file = tmp_path / "self.crt"
    openssl("req", "-x509", "-new", "-key", str(key), "-subj", f"/CN={A}", "-days", "2", "-out", str(file))
    command = [
        "curl",
        "-sS",
        "--cacert",
        str(desk.identity.authority.ca_file),
        "--cert",
        str(file),
        "--key",
        str(key),
    ]
    run = await asyncio.to_thread(
        subprocess.run, [*command, desk.url + "/device/v1/keys"], capture_output=True
    )
    assert run.returncode != 0


async def recovery(
    desk,
    box,
    certificate: Path,
    *,
    nonce: str | None = None,
    old: str = "key",
    key: str = "fresh",
    device: str = A,
):
    """As a shell script would: openssl signs the nonce and the request."""
    if nonce is None:
        nonce = json.loads((await desk.curl("/device/v1/enrol/nonce")).body)["nonce"]
    der = base64.b64decode(box.request(key))
    signature = openssl("dgst", "-sha256", "-sign", str(box.key(old)), stdin=nonce.encode() + der)
    body = {
        "nonce": nonce,
        "device": device,
        "csr": openssl("req", "-inform", "DER", stdin=der).decode(),
        "certificate": certificate.read_text(),
        "signature": base64.b64encode(signature).decode(),
    }
    return await desk.curl(
        "/device/v1/enrol/recover", "-H", "Content-Type: application/json", data=json.dumps(body).encode()
    )


async def test_an_expired_device_recovers_with_its_old_key(desk, box) -> None:
    _, file = await enrolled(desk, box(A))
    desk.clock.shift = timedelta(days=120)
    await desk.identity.load()
    assert (await desk.curl("/device/v1/keys", "--cert", str(file), "--key", str(box(A).key()))).status == 403
    answer = await recovery(desk, box(A), file)
    assert answer.status == 200
    (made,) = answer.certificates
    await connect(desk, made)
    assert "device.recover" in await desk.audited()


async def test_a_certificate_that_really_expired_dies_in_the_handshake_and_still_recovers(desk, box) -> None:
    desk.clock.shift = timedelta(days=-95)
    answer = await desk.enrol(box(A), await desk.claim(A))
    (expired,) = answer.certificates
    file = box(A).keep(expired)
    desk.clock.shift = timedelta()
    handshake = await desk.curl("/device/v1/keys", "--cert", str(file), "--key", str(box(A).key()))
    assert handshake.status == 0
    assert (await recovery(desk, box(A), file)).status == 200


async def test_a_nonce_is_good_once(desk, box) -> None:
    _, file = await enrolled(desk, box(A))
    nonce = json.loads((await desk.curl("/device/v1/enrol/nonce")).body)["nonce"]
    assert (await recovery(desk, box(A), file, nonce=nonce)).status == 200
    answer = await recovery(desk, box(A), file, nonce=nonce)
    assert (answer.status, answer.detail) == (
        403,
        "the nonce is unknown, spent or too old; fetch a new one and try again",
    )
    assert (await recovery(desk, box(A), file, nonce="made-up")).status == 403


async def test_recovery_is_refused_to_the_revoked_the_forgotten_and_the_forger(desk, box) -> None:
    _, file = await enrolled(desk, box(A))
    _, other = await enrolled(desk, box(B))
    assert (await recovery(desk, box(A), file, old="wrong")).status == 403
    assert (await recovery(desk, box(A), other)).status == 403
    assert (await recovery(desk, box(A), file, device=B)).status == 403
    desk.clock.shift = timedelta(days=181)
    late = await recovery(desk, box(A), file)
    assert late.status == 403
    assert "more than 90 days ago" in late.detail
    desk.clock.shift = timedelta(days=100)
    await desk.store.write(lambda unit: desk.identity.revoke(unit, TECHNICIAN, A, "stolen"))
    assert (await recovery(desk, box(A), file)).status == 403


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"{" * 1000, b"x" * 40_000, b'{"nonce": 1e999}'])
async def test_a_malformed_recovery_is_answered_with_a_problem(desk, body: bytes) -> None:
    answer = await desk.curl("/device/v1/enrol/recover", "-H", "Content-Type: application/json", data=body)
    assert answer.status in (413, 422)
    assert answer.detail


async def test_another_process_that_revokes_is_followed(desk, box) -> None:
    certificate, _ = await enrolled(desk, box(A))
    await desk.store.write(lambda unit: certificates.revoke_all(unit, A, "elsewhere"))
    assert desk.identity.admission.refusal(Peer.of(certificate)) is None
    await desk.identity.reload(A)
    assert desk.identity.admission.refusal(Peer.of(certificate)) is not None
    assert desk.kicked == [A]


async def test_the_database_and_the_log_hold_no_secret(desk, box, caplog) -> None:
    token = await desk.claim(A)
    secret = token.split("-")[2]
    await desk.enrol(box(A), token)
    for file in desk.folder.glob("home/hub.db*"):
        assert secret.encode() not in file.read_bytes()
    assert secret not in caplog.text

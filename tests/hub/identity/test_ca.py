"""The authority's files and their renewal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from prahari_hub.errors import SetupError
from prahari_hub.identity import ca
from prahari_hub.identity.ca import DEVICE_LIFE, Authority, open_authority, serial_text
from prahari_hub.identity.service import open_identity
from prahari_hub.store import Store

from .conftest import openssl

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def server(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.server_files[0].read_bytes())


def test_the_authority_is_made_once_and_its_keys_are_private(tmp_path: Path) -> None:
    first = open_authority(tmp_path, city="Pune", now=NOW)
    again = open_authority(tmp_path, city="Pune", now=NOW + 30 * DAY)
    assert first.root_spki_sha256 == again.root_spki_sha256
    assert first.issuing == again.issuing
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "pki").iterdir()} == {0o600}
    assert timedelta(days=3650) < first.root.not_valid_after_utc - NOW < timedelta(days=3660)
    assert timedelta(days=1090) < first.issuing[0].not_valid_after_utc - NOW < timedelta(days=1100)


def test_the_servers_certificate_follows_the_names_and_is_renewed_near_its_end(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    authority.server_certificate(["hub.example", "192.0.2.7", "2001:db8::7"], now=NOW)
    first = server(authority)
    authority.server_certificate(["hub.example", "192.0.2.7", "2001:db8::7"], now=NOW + 200 * DAY)
    assert server(authority) == first
    authority.server_certificate(["hub.example"], now=NOW + 200 * DAY)
    second = server(authority)
    assert second != first
    authority.server_certificate(["hub.example"], now=NOW + 520 * DAY)
    assert server(authority).not_valid_after_utc > NOW + 800 * DAY


@pytest.mark.parametrize("ahead", [365 * DAY, 920 * DAY], ids=["a year", "until the issuing CA is renewed"])
def test_what_a_hub_makes_while_its_clock_is_ahead_is_good_now(tmp_path: Path, ahead: timedelta) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    authority.server_certificate(["localhost"], now=NOW)
    before, device = server(authority), authority.device_certificate("pune-cam-01", key(), now=NOW)
    wrong = open_authority(tmp_path, city="Pune", now=NOW + ahead)
    wrong.server_certificate(["localhost"], now=NOW + ahead)
    assert server(wrong) != before
    right = open_authority(tmp_path, city="Pune", now=NOW)
    right.server_certificate(["localhost"], now=NOW)
    file, at = tmp_path / "device.pem", str(int(NOW.timestamp()))
    file.write_bytes(device.public_bytes(Encoding.PEM))
    for shown in (right.server_files[0], file):
        openssl("verify", "-attime", at, "-CAfile", str(right.ca_file), str(shown))


def test_a_server_certificate_that_is_not_valid_yet_is_replaced(tmp_path: Path) -> None:
    """Earlier releases made such ones while the clock was ahead."""
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    authority.server_certificate(["localhost"], now=NOW)
    file, key_file = authority.server_files
    begin, end = NOW + 364 * DAY, NOW + 730 * DAY
    own, issuer, names = ca._load_key(key_file), authority.issuing[0], [x509.DNSName("localhost")]
    builder = ca._builder(ca._name("localhost", "Pune"), own.public_key(), issuer.subject, begin, end)
    early = ca._sign(ca._leaf(builder, [ExtendedKeyUsageOID.SERVER_AUTH], names), authority._key, issuer)
    file.write_bytes(ca.pem([early, issuer, authority.root]))
    authority.server_certificate(["localhost"], now=NOW + 365 * DAY)
    assert server(authority) == early
    authority.server_certificate(["localhost"], now=NOW)
    assert server(authority).not_valid_before_utc <= NOW
    assert server(authority).not_valid_after_utc >= NOW + 365 * DAY


def test_a_server_certificate_that_is_made_while_the_clock_is_behind_ends_no_sooner(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    authority.server_certificate(["localhost"], now=NOW)
    end = server(authority).not_valid_after_utc
    authority.server_certificate(["other"], now=datetime(1970, 1, 1, tzinfo=UTC))
    assert server(authority).not_valid_after_utc == end
    assert server(authority).not_valid_before_utc <= NOW


def test_a_server_key_that_a_crash_parted_from_its_certificate_is_made_anew(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    authority.server_certificate(["localhost"], now=NOW)
    certificate, key_file = authority.server_files
    before = certificate.read_bytes()
    authority.server_certificate(["other"], now=NOW)
    certificate.write_bytes(before)
    authority.server_certificate(["localhost"], now=NOW)
    public = openssl("pkey", "-in", str(key_file), "-pubout")
    assert openssl("x509", "-in", str(certificate), "-noout", "-pubkey") == public


def test_a_new_issuing_authority_leaves_old_device_certificates_good(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    late = NOW + 920 * DAY
    device = authority.device_certificate("pune-cam-01", key(), now=late)
    renewed = open_authority(tmp_path, city="Pune", now=late)
    assert renewed.issuing[0] != authority.issuing[0]
    assert renewed.issuing[1] == authority.issuing[0]
    file = tmp_path / "device.pem"
    file.write_bytes(device.public_bytes(Encoding.PEM))
    at = str(int(late.timestamp()))
    openssl("verify", "-attime", at, "-CAfile", str(renewed.ca_file), str(file))
    fresh = renewed.device_certificate("pune-cam-01", key(), now=late)
    assert fresh.issuer == renewed.issuing[0].subject


def test_without_the_roots_key_the_issuing_authority_goes_on(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    (tmp_path / "pki" / "root.key").unlink()
    again = open_authority(tmp_path, city="Pune", now=NOW + 920 * DAY)
    assert again.issuing == authority.issuing
    assert again.device_certificate("pune-cam-01", key(), now=NOW + 920 * DAY)


@pytest.mark.parametrize(
    "name",
    ["", "a", "+", "#", "a/b", "a.b", "A" * 5, "a\0b", "x" * 300, "cam-\u0430", "cam 1", "-cam", "cam\n"],
)
def test_no_certificate_is_issued_for_a_name_that_could_enter_a_topic(tmp_path: Path, name: str) -> None:
    authority = open_authority(tmp_path, city="Pune", now=NOW)
    with pytest.raises(ValueError, match="is not a device id"):
        authority.device_certificate(name, key(), now=NOW)


def test_a_city_in_any_script_gets_a_valid_urn(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, city="पुणे Pune", now=NOW)
    made = authority.device_certificate("pune-cam-01", key(), now=NOW)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (urn,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert urn.startswith("urn:prahari:") and urn.isascii() and urn.endswith(":pune-cam-01")
    assert made.not_valid_after_utc - NOW == DEVICE_LIFE
    assert int(serial_text(made), 16) == made.serial_number


def test_broken_keys_are_said_in_one_sentence(tmp_path: Path) -> None:
    open_authority(tmp_path, city="Pune", now=NOW)
    (tmp_path / "pki" / "issuing.key").write_text("broken")
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}")
    try:
        with pytest.raises(SetupError, match="restore the folders pki and signing"):
            open_identity(tmp_path, store, city="Pune")
    finally:
        store.close()

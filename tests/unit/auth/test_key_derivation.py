from __future__ import annotations

import pytest

from ostinato.auth.key_derivation import derive_key, hkdf_sha256

# RFC 5869, appendix A.1 to A.3.
RFC_CASES = [
    pytest.param(
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        id="A.1 basic",
    ),
    pytest.param(
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f"
        "09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        id="A.2 longer inputs",
    ),
    pytest.param(
        "0b" * 22,
        "",
        "",
        42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        id="A.3 no salt, no info",
    ),
]


@pytest.mark.parametrize(("input_key", "salt", "info", "length", "expected"), RFC_CASES)
def test_hkdf_matches_the_vectors_of_rfc_5869(input_key: str, salt: str, info: str, length: int, expected: str) -> None:
    derived = hkdf_sha256(bytes.fromhex(input_key), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length=length)
    assert derived.hex() == expected


@pytest.mark.parametrize("length", [0, -1, 255 * 32 + 1])
def test_hkdf_refuses_lengths_outside_the_rfc(length: int) -> None:
    with pytest.raises(ValueError, match="length must be"):
        hkdf_sha256(b"key", salt=b"", info=b"", length=length)


def test_keys_differ_by_purpose_and_by_secret_and_are_stable() -> None:
    assert derive_key(b"s" * 32, "notification-token") == derive_key(b"s" * 32, "notification-token")
    keys = {derive_key(b"s" * 32, "a"), derive_key(b"s" * 32, "b"), derive_key(b"t" * 32, "a")}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


def test_the_derivation_never_changes_between_releases() -> None:
    """A changed label would invalidate every token and page cursor in flight."""
    assert derive_key(b"s" * 32, "notification-token").hex() == (
        "a427240a60b6b330356a1f764b0f24164eed6ca32ca002cd1c811453dc0c2436"
    )

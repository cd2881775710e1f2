"""OIDC tokens as Google's service accounts get them, signed with a key that lives as long as this object.

Whoever verifies them fetches `jwks()` over HTTP, as it would fetch Google's.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

ALGORITHM = "RS256"
TOKEN_LIFE = timedelta(hours=1)

_KEY_BITS = 2048


class TokenIssuer:
    """`issuer` is the URL below which the keys are served."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        self._key_id = _fingerprint(self._key.public_key())

    def issue(self, email: str, audience: str, *, now: datetime, life: timedelta = TOKEN_LIFE) -> str:
        """A token that says: the bearer is `email`, and talks to `audience`. Times are whole seconds, as Google's."""
        issued_at = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": _subject(email),
            "email": email,
            "email_verified": True,
            "iat": issued_at,
            "exp": issued_at + int(life.total_seconds()),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self._key_id})

    def jwks(self) -> dict[str, object]:
        """The public keys, in the form of RFC 7517."""
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self._key_id, "alg": ALGORITHM, "use": "sig"}]}


def _fingerprint(key: rsa.RSAPublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:40]


def _subject(email: str) -> str:
    """Accounts have a number of their own, which stays the same; here it follows from the name."""
    return str(int.from_bytes(hashlib.sha256(email.encode()).digest()[:8], "big"))

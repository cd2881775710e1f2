from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import jwt
import pytest
import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from ostinato.errors import CallerError, OstinatoError, PermissionDenied, Unauthenticated, Unavailable
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.oidc_keys import FETCH_SPACING, FETCH_SPACING_AFTER_FAILURE, KEYS_ARE_OLD_AFTER, parse_keys
from ostinato.rpc.oidc_verifier import OidcVerifier, open_oidc_verifier
from tests.integration.rpc.issuing import AUDIENCE, CALLER, HOST, ISSUER, MovableClock, ServedIssuer, open_issuer


def away() -> web.Response:
    return web.Response(status=503)


def answer_of(**fields: Any) -> Callable[[], web.Response]:
    """A response can be sent once."""
    return lambda: web.Response(**fields)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def issuer(clock: MovableClock) -> AsyncIterator[ServedIssuer]:
    async with open_issuer(clock) as served:
        yield served


@pytest.fixture
async def verifier(issuer: ServedIssuer) -> AsyncIterator[OidcVerifier]:
    async with open_oidc_verifier(issuer.settings, ["Pusher@shop.example"], issuer.clock) as opened:
        yield opened


async def refusal(verifier: OidcVerifier, authorization: str | None) -> OstinatoError:
    with pytest.raises(OstinatoError) as caught:
        await verifier.verify(authorization, host=HOST)
    return caught.value


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(issuer: ServedIssuer, **changes: object) -> dict[str, object]:
    now = int(issuer.clock.now().timestamp())
    good = {"iss": ISSUER, "aud": AUDIENCE, "email": CALLER, "email_verified": True, "iat": now, "exp": now + 3600}
    return good | changes


def key_id(issuer: ServedIssuer) -> str:
    (key,) = issuer.tokens.jwks()["keys"]
    return str(key["kid"])


async def test_a_genuine_token_tells_who_calls_and_keys_are_fetched_once(
    issuer: ServedIssuer, verifier: OidcVerifier
) -> None:
    for authorization in (issuer.issue(), issuer.issue().replace("Bearer", "bearer "), issuer.issue()):
        assert await verifier.verify(authorization, host=HOST) == CALLER
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic eA==",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer ä\udcff",
        f"Bearer {'A' * 9000}",
        f"Bearer {part(['RS256'])}.{part({})}.AA",
        f"Bearer {part({'alg': 'RS256'})}.{part({})}.AA",
        f"Bearer {part({'alg': 'RS256', 'kid': 7})}.{part({})}.AA",
        f"Bearer {part({'alg': 'RS256', 'kid': None})}.{part({})}.AA",
        f"Bearer {base64.urlsafe_b64encode(b'[' * 5000).decode()}.{part({})}.AA",
    ],
)
async def test_what_is_no_token_is_refused_and_nobody_is_asked_about_it(
    issuer: ServedIssuer, verifier: OidcVerifier, authorization: str | None
) -> None:
    assert isinstance(await refusal(verifier, authorization), Unauthenticated)
    assert issuer.asked == 0


async def test_a_token_without_a_signature_is_refused(issuer: ServedIssuer, verifier: OidcVerifier) -> None:
    body = part(claims(issuer))
    for algorithm in ("none", "None", "NONE", ""):
        token = f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': key_id(issuer)})}.{body}."
        assert isinstance(await refusal(verifier, f"Bearer {token}"), Unauthenticated)


async def test_a_public_key_is_not_taken_for_a_shared_secret(issuer: ServedIssuer, verifier: OidcVerifier) -> None:
    (public,) = issuer.tokens.jwks()["keys"]
    for secret in (json.dumps(public), public["n"], public["kid"]):
        head = {"alg": "HS256", "kid": key_id(issuer)}
        signed = f"{part(head)}.{part(claims(issuer))}"
        mac = jwt.api_jws.PyJWS().get_algorithm_by_name("HS256").sign(signed.encode(), str(secret).encode())
        token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert isinstance(await refusal(verifier, f"Bearer {token}"), Unauthenticated)


async def test_a_token_of_another_key_or_with_altered_claims_is_refused(
    issuer: ServedIssuer, verifier: OidcVerifier
) -> None:
    genuine = issuer.issue()
    head, _, signature = genuine.removeprefix("Bearer ").split(".")
    altered = f"Bearer {head}.{part(claims(issuer, email='stranger@shop.example'))}.{signature}"
    forged = jwt.encode(
        claims(issuer), rsa.generate_private_key(65537, 2048), algorithm="RS256", headers={"kid": key_id(issuer)}
    )
    for authorization in (altered, f"Bearer {forged}", genuine[:-4], genuine + "AAAA", f"Bearer {head}.."):
        assert isinstance(await refusal(verifier, authorization), Unauthenticated), authorization
    assert await verifier.verify(genuine, host=HOST) == CALLER


async def test_a_token_signed_in_another_way_than_its_key_says_is_refused(
    issuer: ServedIssuer, verifier: OidcVerifier
) -> None:
    private = rsa.generate_private_key(65537, 2048)
    public = {**RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "k"}
    issuer.answers = answer_of(text=json.dumps({"keys": [public]}))
    for algorithm, error in (("RS512", Unauthenticated), ("PS256", Unauthenticated), ("RS256", None)):
        token = "Bearer " + jwt.encode(claims(issuer), private, algorithm=algorithm, headers={"kid": "k"})
        if error is None:
            assert await verifier.verify(token, host=HOST) == CALLER
        else:
            assert isinstance(await refusal(verifier, token), error)


async def test_elliptic_curves_sign_as_well(issuer: ServedIssuer, verifier: OidcVerifier) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = {**ECAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "curve"}
    issuer.answers = answer_of(text=json.dumps({"keys": [public]}))
    token = jwt.encode(claims(issuer), private, algorithm="ES256", headers={"kid": "curve"})
    assert await verifier.verify(f"Bearer {token}", host=HOST) == CALLER


async def test_a_token_that_is_old_foreign_or_somebody_elses_is_refused(
    issuer: ServedIssuer, verifier: OidcVerifier
) -> None:
    assert isinstance(await refusal(verifier, issuer.issue(age=timedelta(hours=2))), Unauthenticated)
    assert isinstance(await refusal(verifier, issuer.issue(age=-timedelta(hours=2))), Unauthenticated)
    assert isinstance(await refusal(verifier, issuer.issue(audience="https://other.example")), Unauthenticated)
    assert isinstance(await refusal(verifier, issuer.issue("stranger@shop.example")), PermissionDenied)
    stranger = TokenIssuer("http://127.0.0.1/stranger")
    foreign = stranger.issue(CALLER, AUDIENCE, now=issuer.clock.now())
    assert isinstance(await refusal(verifier, f"Bearer {foreign}"), Unauthenticated)


async def test_a_new_key_is_fetched_when_a_token_names_it(
    issuer: ServedIssuer, clock: MovableClock, verifier: OidcVerifier
) -> None:
    before = issuer.issue()
    await verifier.verify(before, host=HOST)
    issuer.rotate()
    assert isinstance(await refusal(verifier, issuer.issue()), Unauthenticated)  # the last fetch is too close
    clock.move(FETCH_SPACING)
    assert await verifier.verify(issuer.issue(), host=HOST) == CALLER
    assert isinstance(await refusal(verifier, before), Unauthenticated)  # withdrawn
    assert issuer.asked == 2


async def test_invented_keys_do_not_make_us_ask_all_the_time(issuer: ServedIssuer, verifier: OidcVerifier) -> None:
    await verifier.verify(issuer.issue(), host=HOST)
    for number in range(20):
        token = f"{part({'alg': 'RS256', 'kid': str(number)})}.{part(claims(issuer))}.AA"
        assert isinstance(await refusal(verifier, f"Bearer {token}"), Unauthenticated)
    assert issuer.asked == 1


async def test_all_who_wait_for_keys_share_one_fetch_and_one_who_leaves_does_not_end_it(
    issuer: ServedIssuer, verifier: OidcVerifier
) -> None:
    issuer.held = asyncio.Event()
    leaving, *staying = [asyncio.ensure_future(verifier.verify(issuer.issue(), host=HOST)) for _ in range(5)]
    while not issuer.asked:
        await asyncio.sleep(0.001)
    leaving.cancel()
    issuer.held.set()
    assert await asyncio.gather(*staying) == [CALLER] * 4
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        away,
        answer_of(status=302, headers={"Location": "/elsewhere"}),
        answer_of(text="no JSON"),
        answer_of(text="[" * 100_000),
        answer_of(text='{"keys": []}'),
        answer_of(text='{"keys": "all"}'),
        answer_of(text="[]"),
        answer_of(body=b" " * 300_000),
    ],
)
async def test_without_keys_nobody_is_judged_and_the_next_attempt_is_soon(
    issuer: ServedIssuer, clock: MovableClock, verifier: OidcVerifier, answer: Callable[[], web.Response]
) -> None:
    issuer.answers = answer
    assert isinstance(await refusal(verifier, issuer.issue()), Unavailable)
    issuer.answers = None
    assert isinstance(await refusal(verifier, issuer.issue()), Unavailable)
    assert issuer.asked == 1
    clock.move(FETCH_SPACING_AFTER_FAILURE)
    assert await verifier.verify(issuer.issue(), host=HOST) == CALLER


async def test_old_keys_are_fetched_again_beside_the_calls_and_kept_while_the_issuer_is_away(
    issuer: ServedIssuer, clock: MovableClock, verifier: OidcVerifier
) -> None:
    await verifier.verify(issuer.issue(), host=HOST)
    issuer.answers = away
    for asked in (2, 3):
        clock.move(KEYS_ARE_OLD_AFTER)
        assert await verifier.verify(issuer.issue(), host=HOST) == CALLER
        while issuer.asked < asked:
            await asyncio.sleep(0.001)
    unknown = f"Bearer {part({'alg': 'RS256', 'kid': 'new'})}.{part({})}.AA"
    clock.move(FETCH_SPACING)
    assert isinstance(await refusal(verifier, unknown), Unavailable)  # it may be a new one: nobody knows


async def test_a_fetch_that_hangs_ends_with_the_verifier(issuer: ServedIssuer) -> None:
    issuer.held = asyncio.Event()
    async with AsyncExitStack() as stack:
        verifier = await stack.enter_async_context(open_oidc_verifier(issuer.settings, [CALLER], issuer.clock))
        waiting = asyncio.ensure_future(verifier.verify(issuer.issue(), host=HOST))
        while not issuer.asked:
            await asyncio.sleep(0.001)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    issuer.held.set()


async def test_neither_answers_nor_logs_repeat_any_part_of_a_token(
    issuer: ServedIssuer, clock: MovableClock, verifier: OidcVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.answers = away
    bad = [
        issuer.issue(),
        issuer.issue("stranger@shop.example"),
        issuer.issue(audience="https://other.example"),
        f"Bearer {part({'alg': 'none', 'kid': 'planted'})}.{part(claims(issuer))}.",
        "Bearer planted.planted.planted",
    ]
    with caplog.at_level("DEBUG"), structlog.testing.capture_logs() as logged:
        told = [str(await refusal(verifier, authorization)) for authorization in bad]
        issuer.answers = None
        clock.move(FETCH_SPACING)
        for authorization in bad[1:]:
            error = await refusal(verifier, authorization)
            assert isinstance(error, CallerError)
            told.append(str(error))
    text = " ".join([*told, str(logged), caplog.text])
    for authorization in bad:
        for piece in authorization.removeprefix("Bearer ").split("."):
            assert not piece or piece not in text
    assert "planted" not in text
    assert "stranger" not in text


def test_keys_that_nothing_is_signed_with_are_passed_over() -> None:
    good = TokenIssuer(ISSUER).jwks()["keys"][0]
    weak = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    curve = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    entries = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {**good, "kid": "encrypts", "use": "enc"},
        {**good, "kid": "other", "alg": "RS512"},
        {**good, "kid": 7},
        {**weak, "kid": "weak"},
        {**curve, "kid": "curve"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": ["RSA"], "kid": "odd"},
        "text",
        good,
    ]
    assert list(parse_keys(json.dumps({"keys": entries}).encode())) == [good["kid"]]

"""What the local clouds serve over HTTP: the keys of their tokens, and the plan of faults.

The server listens before its tokens have an issuer, which is its own address; until then there are no keys.
"""

from __future__ import annotations

import json

from aiohttp import web

from ostinato.errors import InvalidArgument, Unavailable
from ostinato.localcloud.fault_json import parse_faults, show_fault
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.tokens import ALGORITHM, TokenIssuer

JWKS_PATH = "/jwks"


class CloudRoutes:
    """Set `tokens` as soon as there is an address."""

    def __init__(self, faults: FaultPlan) -> None:
        self.tokens: TokenIssuer | None = None
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(JWKS_PATH, self._jwks),
            web.get("/.well-known/openid-configuration", self._openid_configuration),
            web.get("/faults", self._show_faults),
            web.post("/faults", self._add_faults),
            web.put("/faults", self._replace_faults),
            web.delete("/faults", self._clear_faults),
        ]

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response(self._issuer().jwks(), headers={"Cache-Control": "public, max-age=300"})

    async def _openid_configuration(self, _: web.Request) -> web.Response:
        issuer = self._issuer().issuer
        return web.json_response(
            {
                "issuer": issuer,
                "jwks_uri": f"{issuer}{JWKS_PATH}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
            }
        )

    async def _show_faults(self, _: web.Request) -> web.Response:
        return self._plan()

    async def _add_faults(self, request: web.Request) -> web.Response:
        """The body is one fault or a list of them."""
        for fault in parse_faults(await _read_json(request)):
            self._faults.add(fault)
        return self._plan()

    async def _replace_faults(self, request: web.Request) -> web.Response:
        """The body is `{"seed": …, "faults": […]}`; the seed may be absent, then chance goes on where it is."""
        body = await _read_json(request)
        if not isinstance(body, dict) or body.keys() - {"seed", "faults"} or "faults" not in body:
            raise InvalidArgument.of("body", 'must be {"seed": 1, "faults": [...]}, where seed may be absent')
        seed = body.get("seed")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise InvalidArgument.of("seed", "must be a whole number")
        faults = parse_faults(body["faults"])
        self._faults.clear()
        if seed is not None:
            self._faults.reseed(seed)
        for fault in faults:
            self._faults.add(fault)
        return self._plan()

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return self._plan()

    def _plan(self) -> web.Response:
        return web.json_response({"faults": [show_fault(planned) for planned in self._faults.planned()]})

    def _issuer(self) -> TokenIssuer:
        if self.tokens is None:
            raise Unavailable("the local clouds are starting")
        return self.tokens


async def _read_json(request: web.Request) -> object:
    try:
        body: object = json.loads(await request.read())
    except ValueError:
        raise InvalidArgument.of("body", "must be JSON") from None
    return body

"""An OpenID provider on a port of its own: real HTTP, real signatures by joserfc, which the bridge itself does not use."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "bridge", "client-secret-of-the-tests"
ALICE = {"sub": "248289761001", "preferred_username": "alice", "groups": ["staff", "bridge-operators"]}


class OidcProvider:
    """Signs everybody in as `user`, without a question. `make_token` may be replaced: (claims, key) -> ID token."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
        self.user: dict[str, Any] = dict(ALICE)
        self.userinfo: dict[str, Any] = {}
        self.document: dict[str, Any] = {}
        """What differs from the usual discovery document; None leaves a member out."""
        self.make_token: Callable[[dict[str, Any], RSAKey], str] = sign
        self.posted: list[dict[str, str]] = []
        self.is_down = False
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if provider.is_down:
                    self._send(503, b"down")
                elif parts.path == "/.well-known/openid-configuration":
                    self._send(200, json.dumps(provider.discovery()).encode())
                elif parts.path == "/jwks":
                    self._send(200, json.dumps({"keys": [provider.key.as_dict(private=False)]}).encode())
                elif parts.path == "/authorize":
                    self._send(302, b"", {"Location": provider.authorize(query)})
                elif parts.path == "/userinfo" and self.headers["Authorization"] == "Bearer access":
                    self._send(200, json.dumps(provider.userinfo).encode())
                else:
                    self._send(404, b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                answer = provider.exchange(form, self.headers.get("Authorization", ""))
                self._send(200 if "id_token" in answer else 400, json.dumps(answer).encode())

            def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(body)),
                    **(headers or {}),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def variables(self) -> dict[str, str]:
        """The bridge's settings for this provider."""
        return {
            "PUBLIC_URL": "http://bridge.example",
            "OIDC_ISSUER": self.issuer,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_OPERATORS": "bridge-operators, sre",
            "OIDC_VIEWERS": "bridge-viewers",
            "OIDC_ADMINS": "bridge-admins",
        }

    def discovery(self) -> dict[str, Any]:
        usual = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/logout",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        }
        return {name: value for name, value in (usual | self.document).items() if value is not None}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes, with a code. Every check is one that a strict provider makes."""
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe()
        self._codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def exchange(self, form: dict[str, str], authorization: str) -> dict[str, Any]:
        self.posted.append(form)
        asked = self._codes.pop(form.get("code", ""), None)  # a code is good for once
        if asked is None:
            return {"error": "invalid_grant"}
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (authorization, challenge, form["redirect_uri"]) != (
            f"Basic {basic}",
            asked["code_challenge"],
            asked["redirect_uri"],
        ):
            return {"error": "invalid_client"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.user,
        }
        token = self.make_token(claims, self.key)
        return {"access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def sign(claims: dict[str, Any], key: RSAKey) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)

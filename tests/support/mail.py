"""A real mail server for alerts: it keeps what it takes, and may refuse."""

import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.support.ports import Port

USER, PASSWORD = "alerts@example.com", "p@ss:word/of the tests"


class MailServer:
    """url: for ALERT_SMTP_URL, less what stands before the host."""

    def __init__(self, host: str = "127.0.0.1", certificate: ssl.SSLContext | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.refusal: str | None = None
        """What it answers to every recipient."""
        self._port = Port()
        self.address = f"{host}:{self._port.number}"
        self._controller = Controller(
            self,
            hostname=host,
            port=self._port.number,
            authenticator=self._authenticate,
            auth_require_tls=False,
            tls_context=certificate,
        )
        self._controller.start()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == PASSWORD, handled=False)

    def close(self) -> None:
        self._controller.stop()
        self._port.close()

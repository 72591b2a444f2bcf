"""Alerts by e-mail, over SMTP with the standard library."""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from app.alerts.channel import AGENT, READ_SECONDS, AlertUnsent
from app.alerts.messages import Message, lines_of

LONGEST_SUBJECT = 120
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """url: smtp://USER:PASSWORD@HOST:PORT, or smtps:// where TLS begins at once. A secret."""

    url: str = field(repr=False)
    to: tuple[str, ...]
    sender: str
    variable: str = "ALERT_SMTP_URL"
    name: str = "email"
    is_pager: bool = False

    @property
    def target(self) -> str:
        return ", ".join(self.to)

    def send(self, messages: Sequence[Message]) -> None:
        first = messages[0]
        title = first.title if len(messages) == 1 else f"{len(messages)} messages about conversions"
        # A message has the same ID in every process, so that mail programs show a repeat once.
        identity = "-".join(str(message.id) for message in messages[:20])
        self._send(title, lines_of(messages), f"<alert-{identity}-{first.began_at}@conversion-bridge>")

    def test(self, text: str) -> str:
        self._send("Test alert", text, None)
        return "The mail server accepted the test alert. Check that it arrives."

    def _send(self, title: str, text: str, message_id: str | None) -> None:
        message = EmailMessage()
        message["Subject"] = f"[Conversion Bridge] {title}"[:LONGEST_SUBJECT]
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Date"] = formatdate()
        message["Auto-Submitted"] = "auto-generated"
        message["X-Mailer"] = AGENT
        if message_id is not None:
            message["Message-ID"] = message_id
        message.set_content(text + "\n")
        parts = urlsplit(self.url)
        host, user = parts.hostname or "", unquote(parts.username or "")
        try:
            with self._connect(parts.scheme, host, parts.port) as server:
                is_safe = parts.scheme == "smtps" or _start_tls(server) or host in LOCAL
                if user and not is_safe:
                    raise AlertUnsent("the mail server offers no TLS, and the password is not sent without it")
                if user:
                    server.login(user, unquote(parts.password or ""))
                refused = server.send_message(message, self.sender, list(self.to))
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({str(code) for code, _ in error.recipients.values()})
            raise AlertUnsent(f"the mail server refused the recipients ({', '.join(codes)})") from None
        except smtplib.SMTPResponseException as error:
            raise AlertUnsent(f"the mail server answered {error.smtp_code}{_what(error)}") from None
        except (smtplib.SMTPException, OSError, UnicodeError, ValueError) as error:
            raise AlertUnsent(f"the mail server does not answer ({type(error).__name__})") from None
        if refused:
            raise AlertUnsent(f"the mail server refused {len(refused)} of {len(self.to)} recipients")

    @staticmethod
    def _connect(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
        if scheme == "smtps":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(host, port or 465, timeout=READ_SECONDS, context=context)
        return smtplib.SMTP(host, port or 587, timeout=READ_SECONDS)


def _start_tls(server: smtplib.SMTP) -> bool:
    """Whether the connection is encrypted now."""
    server.ehlo_or_helo_if_needed()
    if not server.has_extn("starttls"):
        return False
    server.starttls(context=ssl.create_default_context())
    server.ehlo_or_helo_if_needed()
    return True


def _what(error: smtplib.SMTPResponseException) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return " to the user name and password"
    return " to the sender" if isinstance(error, smtplib.SMTPSenderRefused) else ""

"""A template at work: bodies, requests, and what answers mean."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import from_json, to_json

from app.destinations.formats.base import (
    Age,
    Answered,
    Body,
    Format,
    HttpRequest,
    Sent,
    Verdict,
    by_status,
    header_text,
    json_object,
)
from app.destinations.formats.template.definition import ALL_FACTS, Definition, KindTemplate
from app.destinations.formats.template.document import document_of
from app.destinations.formats.template.expression import FAILURES, SINGLE_QUOTED, Expression
from app.destinations.formats.template.functions import MASK, Context, is_nothing, text_of
from app.destinations.formats.template.nodes import IDENTIFYING, SECRET, Fields, at, known, leaves_of, stray
from app.model import DeliveryKind, Facts

REQUEST = "$request"
"""Key of a kept payload for what a request has beside its body: path and headers that are made of facts, and what is not known
of what it needs."""
EMPTY = Definition()
NO_REQUEST = KindTemplate("POST", "", {}, Fields({}))
FACT = re.compile(r"[A-Za-z_][\w.]*\b(?!\s*\()")
PATH_CHARACTERS = "/%:@!$&'()*+,;=~?[]"


@dataclass(frozen=True, slots=True)
class Template(Format):
    definition: Definition = EMPTY
    event_names: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_masked: bool = False

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.definition.kinds)

    @property
    def takes_refunds(self) -> bool:
        return "refund" in self.kinds

    @property
    def takes_restores(self) -> bool:
        """Where its refund says what is left, and not how much went back."""
        template = self.definition.kinds.get("refund")
        reads = " ".join(leaf.text for _, leaf in leaves_of(template.body)) if template else ""
        return "refund.left" in reads and "refund.amount" not in reads and ALL_FACTS not in reads.split()

    @property
    def max_age(self) -> Age | None:
        return self.definition.max_age

    def with_secrets(self, secrets: Mapping[str, str], *, is_masked: bool = False) -> Format:
        return replace(self, secrets=secrets, is_masked=is_masked)

    # -- the body

    def body(self, facts: Facts) -> Body:
        template = self.definition.kinds.get(facts.kind)
        if template is None:  # it had one when the delivery was made
            return Body({REQUEST: {"broken": f"it has no request for a {facts.kind}"}})
        document = document_of(facts, {**self.definition.event_names, **self.event_names})
        context = self._context(currency=document.get("sale", {}).get("currency", ""))
        fields = template.body.value(document, context, "")
        beside = self._beside(template, document, context)
        if isinstance(fields, dict):
            fields = known(fields) or {}
        else:
            fields, beside["broken"] = {}, "its body is not an object"
        if beside:
            fields = {**fields, REQUEST: beside}
        return Body(fields, tuple(context.omitted))

    def _beside(self, template: KindTemplate, document: Any, context: Context) -> dict[str, Any]:
        beside: dict[str, Any] = {}
        if isinstance(template.path, Expression) and not template.path.is_constant:
            path = _text(template.path, document, context)
            if path is None:
                beside["broken"] = "its path could not be computed"
            beside["path"] = path or ""
        headers = {
            name: _text(expression, document, context)
            for name, expression in template.headers.items()
            if not expression.is_constant
        }
        if headers:
            beside["headers"] = headers
        if unmet := [need.text for need in template.needs if not need.is_known(document, context)]:
            beside["unmet"] = unmet
        return beside

    @property
    def holds_back(self) -> bool:
        return True

    def not_sent(self, kind: DeliveryKind, body: str) -> Verdict | None:
        if kind not in self.definition.kinds:
            return Verdict("permanent", f"not sent: this destination's template has no request for a {kind}")
        beside = json_object(body.encode()).get(REQUEST) if REQUEST in body else None
        if not isinstance(beside, dict):
            return None
        if unmet := beside.get("unmet"):
            return Verdict("unattributed", f"not sent: this destination needs {', '.join(unmet)}, which is not known")
        if broken := beside.get("broken"):
            return Verdict("permanent", f"not sent: {broken}; correct the template and replay")
        return None

    def problem(self, kind: DeliveryKind, fields: Mapping[str, Any]) -> str | None:
        template = self.definition.kinds.get(kind)
        if template is None:
            return f"this destination takes no {kind}"
        body = {name: value for name, value in fields.items() if name != REQUEST}
        if isinstance(template.body, Fields) and (wrong := stray(body, template.body)):
            return wrong
        context = self._context()
        return next((c.says for c in template.checks if not c.expression.is_true(body, context)), None)

    def edit_problem(self, kind: DeliveryKind, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        template = self.definition.kinds.get(kind)
        fixed = [(REQUEST,), *_identifying(template)] if template else []
        changed = [where for where in fixed if at(before, where) != at(after, where)]
        if changed:
            names = ", ".join(".".join(str(key) for key in where) for where in changed)
            return f"these fields identify the conversion and cannot be changed: {names}"
        return self.problem(kind, after)

    # -- the request

    def request(self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime) -> HttpRequest:
        template = self.definition.kinds.get(kind) or NO_REQUEST
        secrets = {**self.secrets, "token": token} if token else self.secrets
        context = self._context(secrets=secrets)
        kept = json_object(body.encode()) if REQUEST in body or SECRET in body or template.encoding == "form" else None
        beside = (kept or {}).pop(REQUEST, {})
        fields = None if kept is None else self._filled(kept, context, template)
        headers = {"Accept": "application/json", "Idempotency-Key": header_text(key)}
        if token and not template.places_token:
            headers["Authorization"] = f"Bearer {token}"
        content = b""
        if template.encoding == "form":
            content = urlencode({name: text_of(value) for name, value in (fields or {}).items()}).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif not isinstance(template.body, Fields) or template.body.nodes:
            content = body.encode() if fields is None else to_json(fields)
            headers["Content-Type"] = "application/json"
        for name, expression in template.headers.items():
            value = _text(expression, {}, context) if expression.is_constant else beside.get("headers", {}).get(name)
            _set(headers, name, value)
        path = template.path
        if isinstance(path, Expression):
            path = (_text(path, {}, context) if path.is_constant else beside.get("path")) or ""
        path = quote(path, safe=PATH_CHARACTERS)
        path = f"/{path}" if path and not path.startswith("/") else path
        return HttpRequest(template.method, path, headers, content)

    def _filled(self, value: Any, context: Context, template: KindTemplate) -> Any:
        """`value` with the secrets in their places."""
        expressions = {leaf.text: leaf for _, leaf in leaves_of(template.body) if leaf.is_secret}

        def fill(part: Any) -> Any:
            if isinstance(part, dict):
                if list(part) == [SECRET] and part[SECRET] in expressions:
                    return expressions[part[SECRET]].search({}, context)
                return {name: fill(inner) for name, inner in part.items()}
            return [fill(inner) for inner in part] if isinstance(part, list) else part

        return fill(value)

    # -- the answer

    def verdict(self, answer: Answered, sent: Sent) -> Verdict:
        body, context = _said(answer.body), self._context(status=answer.status)
        status, rules = answer.status, self.definition

        def is_true(rule: Expression | None) -> bool:
            return rule is not None and rule.is_true(body, context)

        if is_true(rules.unattributed):
            return Verdict(
                "unattributed", f"answered {status}: the destination knows no click or customer for this one"
            )
        if is_true(rules.pauses):
            return Verdict("unauthorized", f"answered {status}: the token is not accepted")
        if is_true(rules.retries):
            return Verdict("transient", f"answered {status}: it asks to try again later")
        if 200 <= status <= 299 and rules.accepts is not None:
            if is_true(rules.accepts):
                return Verdict("delivered")
            return Verdict("permanent", f"answered {status} and did not accept it: {rules.accepts.text} is not true")
        return by_status(answer, sent)

    def _context(self, secrets: Mapping[str, str] | None = None, **more: Any) -> Context:
        used = self.secrets if secrets is None else secrets
        is_masked = self.is_masked or MASK in used.values()
        return Context(self.definition.parameters, used, is_masked=is_masked, **more)


def _identifying(template: KindTemplate) -> Iterator[tuple[str | int, ...]]:
    """Where the body has what a conversion is counted by, and nothing else."""
    for where, expression in leaves_of(template.body):
        if expression.text.strip() == ALL_FACTS:
            yield from ((*where, *name.split(".")) for name in ("kind", *IDENTIFYING))
        names = set(FACT.findall(SINGLE_QUOTED.sub("", expression.text)))
        if names & set(IDENTIFYING) and names <= {*IDENTIFYING, "source"}:
            yield where


def _text(expression: Expression, document: Any, context: Context) -> str | None:
    try:
        value = expression.search(document, context)
    except FAILURES:
        return None
    return None if is_nothing(value) or isinstance(value, dict | list) else text_of(value)


def _set(headers: dict[str, str], name: str, value: str | None) -> None:
    """Sets a header, or removes it where there is no value; whatever the case of its name."""
    for existing in [part for part in headers if part.lower() == name.lower()]:
        del headers[existing]
    if value is not None:
        headers[name] = "".join(part if part.isascii() and part.isprintable() else quote(part) for part in value)


def _said(body: bytes) -> Any:
    """An answer's JSON, or its text."""
    try:
        return from_json(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()

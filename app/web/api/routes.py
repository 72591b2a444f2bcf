"""The routes of /api/v1, and the OpenAPI document made from them.

A resource declares its routes on its own `Routes`. Each is a function whose signature says everything: path parameters by name,
`query` and `body` as models of app.web.params, and the answer's model as return type. Its docstring is the summary.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from app.ledger.access.roles import Role
from app.web.api.answers import Answer, Error
from app.web.auth import check_bearer_may
from app.web.params import NoQuery, Request, body_of, query_of
from app.web.services import Parts

View = TypeVar("View", bound=Callable[..., Any])
REF = "#/components/schemas/{model}"
MEANINGS = {
    401: "The token is missing or wrong.",
    403: "The token's role may not do this, or the API is closed because API_TOKEN is not set.",
    404: "Nothing has that ID or name.",
    409: "It was skipped; the message says why.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not JSON.",
    422: "A parameter or a field is wrong; the error names it.",
    503: "The ledger is unavailable. Try again after Retry-After.",
}
EVERYWHERE = (401, 403, 503)
PARAMETER = re.compile(r"<(?:(?P<kind>int|path):)?(?P<name>\w+)>")
PATHS: dict[str | None, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 1, "maximum": 2**62 - 1},
    "path": {"type": "string", "pattern": "^[A-Za-z0-9:._-]+$"},
    None: {"type": "string", "pattern": "^[a-z0-9_-]{1,100}$"},
}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. query and body: None if the view takes none. answer: None if it returns its own Response."""

    method: str
    rule: str
    view: Callable[..., Any]
    query: type[Request] | None
    body: type[Request] | None
    is_body_optional: bool
    answer: type[Answer] | None
    media: str
    refusals: tuple[int, ...]
    role: Role

    @property
    def path(self) -> str:
        """As OpenAPI writes it: /deliveries/{id}."""
        return PARAMETER.sub(lambda part: f"{{{shown_name(part['name'])}}}", self.rule)

    def handle(self, parts: Parts, values: dict[str, Any]) -> Response:
        """Reads the request, calls the view and writes its answer."""
        check_bearer_may(self.role)
        query = query_of(self.query or NoQuery)
        if self.query is not None:
            values["query"] = query
        if self.body is not None:
            is_there = not self.is_body_optional or request.get_data()
            values["body"] = body_of(self.body) if is_there else None
        result = self.view(parts, **values)
        if isinstance(result, Response):
            return result
        response = jsonify(result.model_dump(exclude_unset=True))
        response.status_code = result.status_code()
        return response

    def describe(self) -> dict[str, Any]:
        """The operation object of OpenAPI."""
        answer = {
            "schema": _ref(self.answer) if self.answer else {"type": "object" if "json" in self.media else "string"}
        }
        answers = {200: {"description": "Done.", "content": {self.media: answer}}}
        statuses = {*EVERYWHERE, *self.refusals, 422, *((404,) if "<" in self.rule else ())}
        for status in statuses | ({413, 415} if self.body else set()):
            answers[status] = _refusal(status)
        if self.answer is not None and self.answer.skipped_status is not None:
            answers[self.answer.skipped_status] = _refusal(self.answer.skipped_status, self.answer)
        operation: dict[str, Any] = {
            "operationId": self.view.__name__,
            "summary": " ".join((self.view.__doc__ or "").split()),
            "parameters": [*self._path_parameters(), *self._query_parameters()],
            "responses": {str(status): answers[status] for status in sorted(answers)},
        }
        if self.body is not None:
            content = {"application/json": {"schema": _ref(self.body)}}
            operation["requestBody"] = {"required": not self.is_body_optional, "content": content}
        return operation

    def _path_parameters(self) -> list[dict[str, Any]]:
        return [
            {"name": shown_name(part["name"]), "in": "path", "required": True, "schema": PATHS[part["kind"]]}
            for part in PARAMETER.finditer(self.rule)
        ]

    def _query_parameters(self) -> list[dict[str, Any]]:
        if self.query is None:
            return []
        schema = self.query.model_json_schema(schema_generator=RequestSchema)
        required = schema.get("required", ())
        parameters = []
        for name, field in schema["properties"].items():
            parameter = {"name": name, "in": "query", "required": name in required, "schema": field}
            if "description" in field:
                parameter["description"] = field.pop("description")
            parameters.append(parameter)
        return parameters


class Routes:
    """The routes of one resource. `get` and `post` declare one; refusals: statuses beyond those that every route may answer; role:
    whose tokens may call it."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def get(
        self, rule: str, *refusals: int, media: str = "application/json", role: Role = "viewer"
    ) -> Callable[[View], View]:
        return self._declare("get", rule, refusals, media, role)

    def post(self, rule: str, *refusals: int, role: Role = "operator") -> Callable[[View], View]:
        return self._declare("post", rule, refusals, "application/json", role)

    def _declare(
        self, method: str, rule: str, refusals: tuple[int, ...], media: str, role: Role
    ) -> Callable[[View], View]:
        def declare(view: View) -> View:
            hints = get_type_hints(view)
            body, answer = hints.get("body"), hints["return"]
            models = [model for model in get_args(body) if model is not type(None)]
            is_model = isinstance(answer, type) and issubclass(answer, Answer)
            self.routes.append(
                Route(
                    method=method,
                    rule=rule,
                    view=view,
                    query=hints.get("query"),
                    body=models[0] if models else body,
                    is_body_optional=bool(models),
                    answer=answer if is_model else None,
                    media=media,
                    refusals=refusals,
                    role=role,
                )
            )
            return view

        return declare

    def register(self, blueprint: Blueprint, parts: Parts) -> None:
        """Serves the routes."""
        for route in self.routes:
            blueprint.add_url_rule(
                route.rule, route.view.__name__, _served(route, parts), methods=[route.method.upper()]
            )


def _served(route: Route, parts: Parts) -> Callable[..., Response]:
    def serve(**values: Any) -> Response:
        return route.handle(parts, values)

    return serve


class AnswerSchema(GenerateJsonSchema):
    """Without titles, which only repeat field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        generated = super().generate(schema, mode)
        generated.pop("title", None)
        return generated


class RequestSchema(AnswerSchema):
    """Optional request fields are left out, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = super().default_schema(schema)
        if generated.get("default", "") is None:
            del generated["default"]
        return generated


def document(resources: Sequence[Routes]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    routes = [route for resource in resources for route in resource.routes]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route.describe()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Conversion Bridge",
            "version": "1",
            "description": "What was received, what became of it, and the actions on it. Times are ISO 8601 UTC.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                **_schemas([Error, *(route.answer for route in routes if route.answer)], AnswerSchema, "serialization"),
                **_schemas([route.body for route in routes if route.body], RequestSchema, "validation"),
            },
        },
    }


def shown_name(name: str) -> str:
    """The name in the document: `delivery_id` of a view is `id` there."""
    return "id" if name.endswith("_id") else name


def _schemas(
    models: Iterable[type[BaseModel]], generator: type[GenerateJsonSchema], mode: JsonSchemaMode
) -> dict[str, Any]:
    listed = [(model, mode) for model in dict.fromkeys(models)]
    _, schema = models_json_schema(listed, ref_template=REF, schema_generator=generator)
    definitions: dict[str, Any] = schema.get("$defs", {})
    for definition in definitions.values():
        definition.pop("title", None)
    return definitions


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _refusal(status: int, model: type[BaseModel] = Error) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": MEANINGS[status], "content": {"application/json": {"schema": _ref(model)}}}
    if status == 503:
        answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return answer

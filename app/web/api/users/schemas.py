"""The answers about users. Their names are the schema names in the OpenAPI document."""

from typing import Annotated, get_args

from pydantic import Field, WithJsonSchema

from app.ledger.access.roles import Role
from app.ledger.access.users import User
from app.web.api.answers import Answer, Time

RoleName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(get_args(Role))})]


class Me(Answer):
    name: Annotated[str, Field(description='The user, or "api" for API_TOKEN.')]
    role: RoleName
    token: Annotated[str | None, Field(description="The label of the token; null for API_TOKEN.")]
    expires_at: Time | None


class NamedUser(Answer):
    id: int
    name: str
    role: RoleName
    disabled: bool
    issuer: Annotated[str | None, Field(description="The OpenID provider where they sign in; null for a password.")]
    created_at: Time
    signed_in_at: Time | None


class NamedUsers(Answer):
    users: list[NamedUser]


class UserWithPassword(Answer):
    user: NamedUser
    password: Annotated[
        str | None, Field(description="The generated one, shown here alone; null for one that you sent.")
    ]


class Token(Answer):
    id: int
    user_id: int
    label: str
    role: RoleName
    hint: Annotated[str, Field(description="The last characters.")]
    created_at: Time
    expires_at: Time | None
    used_at: Annotated[Time | None, Field(description="To ten minutes.")]


class Tokens(Answer):
    tokens: list[Token]


class Done(Answer):
    message: str


def user_answer(user: User) -> NamedUser:
    return NamedUser.model_validate(user.as_json())

"""The blueprint of the pages about users."""

from flask import Blueprint

from app.web.pages.users import account, manage
from app.web.pages.users.guard import Guard
from app.web.services import Parts


def create_blueprint(parts: Parts, guard: Guard) -> Blueprint:
    blueprint = Blueprint("users", __name__)
    account.register(blueprint, parts, guard)
    manage.register(blueprint, parts)
    return blueprint

"""To come."""

from flask import Blueprint

from app.web.pages.parts import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    """Nothing yet."""

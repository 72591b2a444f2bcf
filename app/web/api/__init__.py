"""The resources of /api/v1, one module each. routes.py serves and describes them, blueprint.py puts them together."""

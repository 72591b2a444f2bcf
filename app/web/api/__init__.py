"""The resources of /api/v1, a module each; app/web/api/blueprint.py puts them together, and openapi.py beside it describes them."""

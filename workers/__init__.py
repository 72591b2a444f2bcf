import app  # noqa: F401 - before redis

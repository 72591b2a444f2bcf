"""Routes outside the login: webhooks, health, metrics and the sandbox."""

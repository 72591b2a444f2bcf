"""Who changes something through the API, as the audit log names it."""

ACTOR = "api"

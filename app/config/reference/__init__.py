"""The tables of docs/settings.md, written from the settings themselves."""

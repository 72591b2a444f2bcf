"""The environment variables by section. A section's docstring is its title in docs/settings.md, a variable's its meaning.

`python -m app.config.reference` writes both into the page.
"""

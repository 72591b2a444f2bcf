"""Compares the settings of two processes: `bridge up`, and a command run beside it."""

from app.config.settings import Settings

ITS_OWN = frozenset(
    {"bridge_home", "host", "port", "log_level", "log_format", "sandbox", "database_pool_size", "database_pool_max"}
)
"""Settings in which a command in another terminal may differ and still look at the same bridge."""


def compared_values(settings: Settings) -> dict[str, str]:
    """The values to compare, by setting name. They include secrets, so store only their fingerprints."""
    values = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is not None and name not in ITS_OWN:
            values[name.upper()] = str(getattr(value, "get_secret_value", lambda value=value: value)())
    values |= settings.source_secrets
    for variable in settings.destination_variables:
        values[variable] = settings.secret(variable)
    values[settings.config_path.name] = repr(settings.config)
    return values

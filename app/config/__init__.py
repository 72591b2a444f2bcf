"""Configuration: environment variables, bridge.toml, destinations and generated secrets."""

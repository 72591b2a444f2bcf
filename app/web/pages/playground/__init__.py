"""The playground: a body, or a mapping, tried without recording or sending anything."""

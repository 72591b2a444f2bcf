"""Charts as SVG that the server draws."""

"""The whole stack in one foreground process group."""

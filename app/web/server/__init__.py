"""The front door: the server process, its event loop and its threads."""

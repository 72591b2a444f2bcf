"""The playground for programs."""

"""What a process says about itself to those who watch it."""

"""`python -m bench` (make bench): measures the bridge on this machine, each row beside its floor measured in the same run."""

"""python -m app is the same as bridge."""

import gc
import sys

gc.disable()  # imports leave no garbage, and looking for it takes a fifth of the time to start

try:
    from app.cli import main
except KeyboardInterrupt:  # later, the command line itself says so
    sys.exit("Aborted!")

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()

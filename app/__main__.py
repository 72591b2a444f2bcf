"""python -m app is the same as bridge."""

import gc

gc.disable()  # imports leave no garbage, and looking for it takes a fifth of the time to start

from app.cli import main

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()

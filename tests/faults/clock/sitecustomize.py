"""Python runs this at the start of every process of a fault run: its clock goes as far ahead as a file says.

The file holds one double, seconds. Only time.time is set ahead, which is what the bridge keeps claims and schedules by; the
signatures of webhooks are checked by another function, since the providers' clocks do not jump.
"""

import mmap
import os
import struct
import time
from pathlib import Path

if os.environ.get("BRIDGE_FAULTS_CLOCK"):
    with Path(os.environ["BRIDGE_FAULTS_CLOCK"]).open("rb") as _file:
        _ahead = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
    _real = time.time
    time.time = lambda: _real() + struct.unpack_from("d", _ahead)[0]

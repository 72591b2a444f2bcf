"""nginx with the sample of deploy/, where it is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "deploy" / "nginx.conf"
PROGRAM = shutil.which("nginx")


def start_nginx(folder: Path, port: int, webs: list[int]) -> "subprocess.Popen[bytes]":
    """With the sample as it stands, but for ports, names and certificates of the test."""
    text = SAMPLE.read_text()
    text = re.sub(r"listen 443 ssl", f"listen 127.0.0.1:{port}", text)
    text = re.sub(r"\n    ssl_certificate.*", "", text)
    text = re.sub(r"server \{\n    listen 80;.*?\n\}\n", "", text, flags=re.DOTALL)
    for known, web in zip((8000, 8001), webs, strict=True):
        text = text.replace(f"127.0.0.1:{known}", f"127.0.0.1:{web}")
    user = "user root;" if os.getuid() == 0 else ""
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = f"{user} daemon off; pid {folder}/pid; error_log {folder}/errors; events {{}} http {{ access_log off; {paths} {text} }}"
    (folder / "nginx.conf").write_text(whole)
    return subprocess.Popen([str(PROGRAM), "-c", str(folder / "nginx.conf"), "-p", str(folder)])

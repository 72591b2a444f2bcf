"""db rotate-key: encrypts what is stored with the current key."""

import click

from app.bootstrap import cipher_of, open_ledger
from app.cli.backup import Progress
from app.cli.output import say
from app.config.settings import load_settings
from app.errors import ConfigurationError
from app.ledger.sealing.rotate import rotate


@click.command("rotate-key")
@click.option("--off", is_flag=True, help="Decrypt everything, to run without ENCRYPTION_KEY. Stop the bridge first.")
def rotate_key(off: bool) -> None:
    """Encrypt what is stored with the first key of ENCRYPTION_KEY.

    This includes what was stored before there was a key. Runs in small batches while the bridge runs. Safe to repeat.
    """
    settings = load_settings()
    cipher = cipher_of(settings)
    if cipher is None:
        raise ConfigurationError("set ENCRYPTION_KEY first: `openssl rand -base64 32` makes one")
    ledger, progress = open_ledger(settings), Progress()
    with ledger.raw() as raw:
        total = rotate(raw, cipher, off=off, progress=lambda table, done: progress.show(table, done, done))
    progress.end()
    if off:
        say(f"Decrypted {total:,} rows. Remove ENCRYPTION_KEY, then start the bridge.")
        return
    say(f"Encrypted {total:,} rows with the key {cipher.current}.")
    if len(cipher.key_ids) > 1:
        say("The other keys are no longer needed: remove them from ENCRYPTION_KEY.")

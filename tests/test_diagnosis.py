"""A failure tells enough to be understood from the log of another machine."""

from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.support import diagnosis


def counts() -> dict[str, int]:
    return {"delivered": 7, "dead": 1}


def test_what_was_waited_for_in_vain_is_told_with_what_there_was_instead() -> None:
    expected, missing = {"delivered": 8}, ["pi_1"]
    with pytest.raises(pytest.fail.Exception) as caught:
        wait_for(lambda: counts() == expected and not missing, 0.01)
    text = str(caught.value)
    assert "wait_for(lambda: counts() == expected and not missing, 0.01)" in text
    assert "at last: False" in text
    assert "now: counts() is {'delivered': 7, 'dead': 1}" in text
    assert "now: expected is {'delivered': 8}" in text
    assert "now: missing is ['pi_1']" in text


def test_what_cannot_be_read_is_told_as_it_is() -> None:
    with pytest.raises(pytest.fail.Exception, match="not within 0 s"):
        wait_for(dict, 0)


def test_the_end_of_each_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"x" * 100_000 + b"\xffthe end")
    monkeypatch.setattr(diagnosis, "LOGS", [log, tmp_path / "none.txt"])
    ((title, text),) = diagnosis.ends_of_logs()
    assert title == f"end of {log}"
    assert text.endswith("the end")
    assert len(text) == diagnosis.LOG_BYTES

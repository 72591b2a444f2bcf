"""Whether something answers at a URL: a HEAD request that carries nothing and follows no redirect."""

import time

import requests


def reach(url: str, timeout_seconds: float) -> tuple[bool, str]:
    """(whether it answers, in words for whoever asked). Any status is an answer."""
    began = time.perf_counter()
    try:
        answer = requests.head(url, timeout=min(timeout_seconds, 5), allow_redirects=False)
    except requests.RequestException as error:
        return False, f"does not answer ({type(error).__name__})"
    took_ms = (time.perf_counter() - began) * 1000
    return True, f"answers: {answer.status_code} to a HEAD request, after {took_ms:.0f} ms"

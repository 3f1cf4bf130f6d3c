"""Errors of libraries in one line."""


def describe(error: Exception) -> str:
    """The last line of an error's message, which has its reason; its class if there is no message."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200].rstrip(".") if lines else type(error).__name__

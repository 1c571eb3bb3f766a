"""Lines for the person who runs an experiment."""


def say(what: str, text: str) -> None:
    """Print a line: a topic, then a text about it."""
    print(f"{what:10}{text}", flush=True)

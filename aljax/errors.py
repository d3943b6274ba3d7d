"""The one exception for what a user can put right: its message is one line that names what, where and why."""


class UserError(ValueError):
    """Bad input: a file, an option or an array. The command line prints it alone and exits with status 2."""


def one_line(text: object) -> str:
    """Folds a message of several lines, such as another library's, into one."""
    return " ".join(str(text).split())


def short(value: object, most: int = 40) -> str:
    """A value as a message shows it: its Python form, cut to so many characters, whatever it is."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of more digits than Python writes
        return f"{type(value).__name__} too large to show"
    return text if len(text) <= most else text[: most - 3] + "..."

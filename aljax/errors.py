"""The one exception for what a user can put right: its message is one line that names what, where and why."""


class UserError(ValueError):
    """Bad input: a file, an option or an array. The command line prints it alone and exits with status 2."""


def one_line(text: object) -> str:
    """Folds a message of several lines, such as another library's, into one."""
    return " ".join(str(text).split())

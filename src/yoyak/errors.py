"""The one exception that a user is meant to read."""


class YoyakError(Exception):
    """Input, parameters or surroundings that a user can mend. The message names the file, line and id, or the param."""

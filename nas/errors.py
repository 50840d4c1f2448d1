"""Errors that are the user's to mend."""


class InputError(Exception):
    """What a user wrote cannot be used; the message, one line per mistake, says where and why."""

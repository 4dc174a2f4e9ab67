"""Defines the error that a front end raises for something that it cannot turn into a program."""


class Unknown(Exception):
    """The error for something that the compiled engine does not know; the message says what."""

"""What a front end says of something that it cannot turn into a program."""


class Unknown(Exception):
    """The compiled engine does not know something; the message says what."""

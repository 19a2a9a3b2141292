"""The one exception this library raises for wrong input."""


class LabError(ValueError):
    """Wrong input, told in one sentence: what is wrong, what was expected, what came.

    The command line prints the sentence and exits with code 2; nothing is left half-written.
    """

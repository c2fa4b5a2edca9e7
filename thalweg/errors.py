"""Every exception that thalweg raises on purpose.

    ThalwegError
    ├── UsageError (also a ValueError)       an argument breaks a rule
    │   ├── DataError                        the examples cannot be used as given
    │   ├── ModelError                       the model or its loss cannot be evaluated
    │   ├── ReferenceError                   a text names no task and no run folder
    │   └── FolderError                      a run folder or a checkpoint cannot be read or written
    └── BudgetError                          the work asked for does not fit the budget given

A message is one sentence that names the argument, the rule and what was given.
"""

__all__ = [
    "BudgetError",
    "DataError",
    "FolderError",
    "ModelError",
    "ReferenceError",
    "ThalwegError",
    "UsageError",
]


class ThalwegError(Exception):
    """The root of the tree: catch this to catch them all."""


class UsageError(ThalwegError, ValueError):
    """An argument breaks a rule; the command line exits with 2."""


class DataError(UsageError):
    """The examples cannot be used as given: empty, of unequal length, of the wrong type."""


class ModelError(UsageError):
    """The model or its loss cannot be evaluated, or has nothing that can be trained."""


class ReferenceError(UsageError):
    """A text such as ``file.py:callable`` leads to no task and to no run folder."""


class FolderError(UsageError):
    """A run folder or a checkpoint cannot be read, does not fit, or would have to run code."""


class BudgetError(ThalwegError):
    """The work that was asked for does not fit the budget that was given."""

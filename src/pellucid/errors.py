"""The tree of errors: every one says what was expected, what came, and what to do.

::

    PellucidError
    ├── InputError            (ValueError)  what was given to be explained
    │   ├── ShapeError
    │   ├── DtypeError        (TypeError)
    │   ├── NonFiniteError
    │   ├── EmptyError
    │   └── PictureError
    ├── OutputError           (ValueError)  what the model or predict function gave back
    ├── PredictError          (RuntimeError) a predict function that failed; the answers it gave are kept
    ├── OptionError           (ValueError)  an option of a method or a setting
    ├── UnknownName           (LookupError) a layer, class, column, method or demo nobody knows
    │   ├── LayerError
    │   ├── TargetError
    │   └── MethodError
    ├── ModelError            (RuntimeError)
    │   ├── MixedRowsError
    │   ├── TwinError
    │   └── GradientError
    ├── OutOfMemory           (RuntimeError)
    ├── Cancelled             (RuntimeError)
    └── LoadError             (OSError)     a file, package or weights that cannot be loaded
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PellucidError(Exception):
    """Something is not as needed: ``.expected``, ``.got`` and ``.do`` carry the three parts of the message.

    >>> raise PellucidError(expected="a number", got="'cat'", do="Give a number.")
    Traceback (most recent call last):
    ...
    pellucid.errors.PellucidError: expected a number; got 'cat'. Give a number.
    """

    def __init__(self, *, expected: str, got: str, do: str) -> None:
        self.expected, self.got, self.do = expected, got, do
        super().__init__(f"expected {expected}; got {got}. {do}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.expected, self.got, self.do)


def _rebuild(kind: type[PellucidError], expected: str, got: str, do: str) -> PellucidError:
    return kind(expected=expected, got=got, do=do)


class InputError(PellucidError, ValueError):
    """What was given to be explained cannot be used."""


class ShapeError(InputError):
    """A tensor has the wrong shape."""


class DtypeError(InputError, TypeError):
    """A value has the wrong type."""


class NonFiniteError(InputError):
    """A value is NaN or infinite."""


class EmptyError(InputError):
    """There is nothing to explain."""


class PictureError(InputError):
    """A picture is broken, too large, or not a picture."""


class OutputError(PellucidError, ValueError):
    """The model or predict function gave back something unusable."""


class PredictError(PellucidError, RuntimeError):
    """A predict function failed; its own error is the ``__cause__``, and what it answered before is kept."""


class OptionError(PellucidError, ValueError):
    """An option of a method or a setting has a value it cannot have."""


class UnknownName(PellucidError, LookupError):
    """A name that nothing here bears."""


class LayerError(UnknownName):
    """No such layer, or a layer that cannot serve."""


class TargetError(UnknownName):
    """No such class, output or position."""


class MethodError(UnknownName):
    """No such method."""


class ModelError(PellucidError, RuntimeError):
    """The model cannot be studied as it is."""


class MixedRowsError(ModelError):
    """The answer for one row depends on the other rows of its batch."""


class TwinError(ModelError):
    """The module cannot be copied."""


class GradientError(ModelError):
    """The target does not depend differentiably on what is explained."""


class OutOfMemory(PellucidError, RuntimeError):
    """Not even a single row fits into memory."""


class Cancelled(PellucidError, RuntimeError):
    """The run was stopped on request; nothing was left behind."""


class LoadError(PellucidError, OSError):
    """A file, package or set of weights cannot be loaded."""


def nearest(name: str, names: Iterable[str], most: int = 3) -> str:
    """The known names closest to ``name``, as the second half of a message.

    >>> nearest("layr4", ["layer1", "layer4", "fc"])
    "Near: 'layer4', 'layer1'."
    """
    known = [str(each) for each in names]
    close = get_close_matches(str(name), known, n=most, cutoff=0.5)
    if close:
        return "Near: " + ", ".join(repr(each) for each in close) + "."
    shown = ", ".join(repr(each) for each in known[:12]) + (", …" if len(known) > 12 else "")
    return f"Known: {shown}." if known else "None are known."

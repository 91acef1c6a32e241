"""Values that belong to the model and are read again on the way back: copied when the model writes over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pellucid.errors import GradientError


@dataclass(eq=False)
class Lent:
    """A tensor of the model's, as it was: nothing is copied unless the model is about to write into it."""

    value: Tensor | None = None
    version: int = 0

    def hold(self, value: Tensor) -> None:
        """Hold a value as it is now."""
        self.value, self.version = value, value._version

    def __post_init__(self) -> None:
        if self.value is not None:
            self.version = self.value._version

    @property
    def tensor(self) -> Tensor:
        """The value; GradientError where it was written over unseen."""
        if self.value is None or self.value._version != self.version:
            do = "Look for in-place changes under torch.no_grad() in forward; write them out of place."
            raise GradientError(expected="activations that stay as they were", got="one that was overwritten", do=do)
        return self.value

    def keep(self) -> None:
        """The model is about to write: copy."""
        if self.value is not None:
            self.hold(self.tensor.clone())


class Loans:
    """What is lent, by the storage it lies in."""

    def __init__(self) -> None:
        self.by_storage: dict[int, list[Lent]] = {}

    def add(self, lent: Lent) -> None:
        """Lend one more."""
        if lent.value is not None:
            self.by_storage.setdefault(lent.value.untyped_storage().data_ptr(), []).append(lent)

    def before(self, name: str, args: Any, kwargs: Any) -> None:
        """An operation is about to run: copy what it writes over."""
        for tensor in written(name, args, kwargs):
            for lent in self.by_storage.pop(tensor.untyped_storage().data_ptr(), ()):
                lent.keep()


def written(name: str, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors an operation writes into."""
    inplace = (name.endswith("_") and not name.endswith("__")) or name.startswith(("__i", "__setitem"))
    targets = [args[0]] if args and (inplace or kwargs.get("inplace")) else []
    return [each for each in (*targets, kwargs.get("out")) if isinstance(each, Tensor)]

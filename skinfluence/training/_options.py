"""An optimizer's options as numbers that its step can be differentiated in."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


class Option(float):
    """A number beside the tensor that it is the value of.

    ``torch.optim``'s code computes with it as with any number, and passes what it
    comes to as a factor to functions of tensors, which see the tensor.
    """

    tensor: Tensor

    def __new__(cls, value: float, tensor: Tensor) -> "Option":
        """Return a number with a tensor."""
        number = super().__new__(cls, value)
        number.tensor = tensor
        return number

    def __neg__(self) -> "Option":
        return Option(-float(self), -self.tensor)

    def __eq__(self, other: object) -> bool:
        # An option of 0 takes part all the same: there is a derivative in it.
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return id(self)


def tensor_of(value: Any) -> Any:
    """Return the tensor of an option, and anything else as it is."""
    return value.tensor if isinstance(value, Option) else value


def _operation(name: str) -> Callable[[Option, Any], Any]:
    of_tensors, of_numbers = getattr(Tensor, name), getattr(float, name)

    def operation(self: Option, other: Any) -> Any:
        found = of_tensors(self.tensor, tensor_of(other))
        if isinstance(other, Tensor):
            return found
        return Option(of_numbers(float(self), float(other)), found)

    return operation


for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Option, f"__{_name}__", _operation(f"__{_name}__"))
for _name in ("radd", "rsub", "rmul", "rtruediv"):
    setattr(Option, f"__{_name}__", _operation(f"__{_name}__"))


def _add(one: Tensor, other: Tensor, *, alpha: Any) -> Tensor:
    # The parameters, which a decay multiplies, are changed in place afterwards.
    return one + other.clone() * alpha


def _add_(into: Tensor, other: Tensor, *, alpha: Any) -> Tensor:
    return into.add_(other * alpha)


def _addcdiv_(into: Tensor, one: Tensor, other: Tensor, *, value: Any) -> Tensor:
    return into.add_(value * one / other)


def _lerp_(into: Tensor, end: Tensor, weight: Any) -> Tensor:
    return into.add_(weight * (end - into))


# Functions whose factors must be plain numbers, written for those that are tensors.
WITH_FACTOR: dict[Any, Callable[..., Any]] = {
    Tensor.add: _add,
    Tensor.add_: _add_,
    Tensor.addcdiv_: _addcdiv_,
    Tensor.lerp_: _lerp_,
}

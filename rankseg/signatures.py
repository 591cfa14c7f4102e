"""Types of public functions: an array of some library in, one of the same library out."""

from typing import Any, ParamSpec, Protocol, TypeVar, overload

from numpy.typing import NDArray

ArrayT = TypeVar("ArrayT")
_P = ParamSpec("_P")


class Untyped:
    """No array is one of these, but one without a type may be, whose result then has none."""


class _TakesProbs(Protocol[_P]):
    def __call__(self, probs: Any, *args: _P.args, **kwargs: _P.kwargs) -> Any: ...


class SameLibrary(Protocol[_P]):
    """A function whose first argument is an array, and whose result is one of its library.

    NumPy's arrays have a dtype in their type, which the result need not share.
    """

    @overload
    def __call__(self, probs: Untyped, *args: _P.args, **kwargs: _P.kwargs) -> Any: ...
    @overload
    def __call__(
        self, probs: NDArray[Any], *args: _P.args, **kwargs: _P.kwargs
    ) -> NDArray[Any]: ...
    @overload
    def __call__(self, probs: ArrayT, *args: _P.args, **kwargs: _P.kwargs) -> ArrayT: ...


def same_library(function: _TakesProbs[_P]) -> SameLibrary[_P]:
    """Tell type checkers what the result is; the function stays as it is."""
    return function

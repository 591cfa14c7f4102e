"""Cases that are gone through several times."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .case import Case
from .checking import checked_cases, no_usable_case
from .files import Cases

T = TypeVar("T")


def unchanged(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a prediction as it is; see `Cases.written`."""
    return predict


class Source:
    """Labelled cases for several passes, the bad ones left out of all.

    Attributes
    ----------
    groups : list of str
        Group of each good case, as of the first pass.
    classes : int or None
        Number of classes, as of the first pass.
    problems : dict of str to str
        Why a case was left out, by name.
    """

    def __init__(
        self,
        cases: Iterable[Any],
        output_mode: str,
        void_index: int,
        progress: Callable[[str, int], None] | None = None,
        check_sums: bool = True,
    ) -> None:
        if isinstance(cases, Iterator):
            raise TypeError(
                "cases are gone through several times: pass Cases, a list or the like, "
                f"found {type(cases).__name__}"
            )
        self.cases, self.output_mode, self.void_index = cases, output_mode, void_index
        self.progress = progress or (lambda step, done: None)
        self.check_sums = check_sums
        self.written = cases.written if isinstance(cases, Cases) else unchanged
        self.problems: dict[str, str] = {}
        self.names: list[str] = []
        self.groups: list[str] = []
        self.classes: int | None = None

    def visit(self, step: str, function: Callable[[int, Case], T]) -> list[T]:
        """Go through the cases, those only that were good the first time.

        Parameters
        ----------
        step : str
            What is done, for the progress.
        function : callable
            Called with the position of each case among the good ones, and with the case. The
            case lives as long as this call: the next one is read after it is gone.

        Returns
        -------
        list
            What the function returned for each case.

        Raises
        ------
        ValueError
            If there is no good case, or the cases are not those of the first pass.
        """
        results: list[T] = []
        first = not self.names
        for case in checked_cases(
            self.cases,
            self.problems,
            output_mode=self.output_mode,
            void_index=self.void_index,
            classes=self.classes,
            check_sums=self.check_sums,
            skip=self.problems.keys() - set(self.names),  # a name twice is a problem of the second
        ):
            position = len(results)
            if first:
                self.names.append(case.name)
                self.groups.append(case.group)
                self.classes = len(case.probs)
            if self.names[position : position + 1] != [case.name]:
                break
            results.append(function(position, case))
            del case
            self.progress(step, len(results))
        if not self.names:
            raise no_usable_case(self.problems)
        if len(results) < len(self.names):
            raise ValueError("cases must be the same each time that they are gone through")
        return results

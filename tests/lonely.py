"""Cases that notice when another one is still alive."""

import weakref

from rankseg.evaluation import Cases


class LonelyCases:
    """Cases made anew each time, each of which must be gone when the next is asked for.

    `make` returns a tuple (..., probs, labels) for a number from 0.
    """

    def __init__(self, make, count):
        self.make, self.count = make, count

    def __len__(self):
        return self.count

    def __iter__(self):
        before = ()
        for i in range(self.count):
            assert all(part() is None for part in before), f"case {i - 1} is alive"
            box = [self.make(i)]
            before = [weakref.ref(part) for part in box[0][-2:]]
            yield box.pop()


class LonelyFiles(Cases):
    """The same of cases in .npz files."""

    before = ()

    def read(self, name):
        assert all(part() is None for part in self.before), f"the case before {name} is alive"
        case = super().read(name)
        self.before = [weakref.ref(case.probs.base), weakref.ref(case.labels)]
        return case

"""An event loop whose clock does not wait: when nothing can run, the time is at once that of the next timer."""

import asyncio
import selectors

import anyio


class Stuck(Exception):
    """Nothing can run and no timer is set: whoever waits, waits for ever."""


class _Selector(selectors.DefaultSelector):
    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("nothing will ever happen again")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` starts at 0 and moves by what is slept."""

    def __init__(self):
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self):
        return self._virtual.now


def run_virtually(function, *args):
    """As ``anyio.run``, in no time."""
    return anyio.run(function, *args, backend="asyncio", backend_options={"loop_factory": VirtualLoop})

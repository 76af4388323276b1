"""Registers callbacks: by decorator, by assignment or as a method of a subclass, checked while the program is imported.

What could only fail later is refused at once: a function that takes other arguments than it will be given, a function
that would never run, a name that nobody calls, and a second function in the place of the first.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from workers.threads import Threaded

C = TypeVar("C", bound=Callable[..., Any])  # what is set
D = TypeVar("D")  # the decorator, as a type checker sees it: see `signatures.py`

THREADS: Final = 16

_LIKE_AN_EVENT: Final = re.compile(r"on(_|[A-Z])")


class Registrar:
    """The value of `worker.on_message`: a decorator."""

    __slots__ = ("_event", "_owner")

    def __init__(self, event: Event[Any, Any], owner: Callbacks) -> None:
        self._event = event
        self._owner = owner

    def __call__(self, callback: C | None = None, /, *, threaded: bool = False) -> C | Callable[[C], C]:
        """Set the callback; with `threaded` a plain function is called in a thread, where it may block."""
        if callback is None and not threaded:
            return self._set_once
        if callback is None:
            return lambda given: self._set_once(given, threaded=True)
        return self._set_once(callback, threaded=threaded)

    def _set_once(self, callback: C, *, threaded: bool = False) -> C:
        before = self._owner.callbacks.get(self._event.name)
        if before is not None:
            raise ValueError(
                f"{self._event.full_name} is set already, to {_named(before)}: there is one function for it, "
                f"which may call others (to replace it, assign: .{self._event.full_name} = function)"
            )
        self._event.store(self._owner, callback, threaded=threaded)
        return callback


class Event(Generic[C, D]):
    """One callback of a class: `@thing.on_x`, `@thing.on_x(…)` and `thing.on_x = f` set it, None takes it away.

    Raises TypeError for a function that cannot be called as it will be, ValueError for a second decorated one.
    """

    def __init__(self, *arguments: str, threads: bool = False) -> None:
        """`arguments` are the names of what it is called with; `threads` allows `threaded`."""
        self._arguments = arguments
        self._threads = threads
        self.name = self.full_name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.full_name = name
        self.name = name.removeprefix("on_")

    @overload
    def __get__(self, instance: None, owner: type) -> Event[C, D]: ...
    @overload
    def __get__(self, instance: Callbacks, owner: type) -> D: ...
    def __get__(self, instance: Callbacks | None, owner: type) -> Event[C, D] | D:
        return self if instance is None else cast(D, Registrar(self, instance))

    def __set__(self, instance: Callbacks, callback: C | None) -> None:
        if callback is None:
            instance.callbacks.pop(self.name, None)
        else:
            self.store(instance, callback)

    def store(self, instance: Callbacks, callback: C, *, threaded: bool = False) -> None:
        """Check and set the callback. Raises TypeError."""
        if why := instance.uncalled(self.name):
            raise TypeError(f"{self.full_name} would never be called: {why}")
        self._check(callback)
        if threaded:
            self._check_threaded(callback)
        instance.callbacks[self.name] = Threaded(callback, instance.thread_pool) if threaded else callback

    def _check(self, callback: C) -> None:
        if not callable(callback):
            raise TypeError(f"{self.full_name} takes a function or a coroutine function, not {callback!r}")
        if _is(callback, inspect.isgeneratorfunction) or _is(callback, inspect.isasyncgenfunction):
            raise TypeError(
                f"{self.full_name}: {_named(callback)} contains a yield, so calling it would run nothing of it"
            )
        signature = signature_of(callback)
        if signature is None:
            return
        try:
            signature.bind(*self._arguments)
        except TypeError as error:
            raise TypeError(
                f"{self.full_name} is called with ({', '.join(self._arguments)}), "
                f"and {_named(callback)} takes {signature}: {error}"
            ) from None

    def _check_threaded(self, callback: C) -> None:
        if not self._threads:
            raise TypeError(f"{self.full_name} cannot be threaded: it is called on the worker's loop")
        if _is(callback, inspect.iscoroutinefunction):
            raise TypeError(
                f"{self.full_name}: {_named(callback)} is a coroutine function, and those run on the loop; "
                "threaded is for plain functions"
            )


class MethodEvent(Event[C, D]):
    """A callback that a subclass defines as a method; `super()` and a call by name reach the method itself."""

    def __init__(self, event: Event[C, D], method: Any) -> None:
        super().__init__(*event._arguments, threads=event._threads)
        self.name, self.full_name = event.name, event.full_name
        self._method = method

    def __get__(self, instance: Callbacks | None, owner: type) -> Any:
        method = self._method.__get__(instance, owner) if hasattr(self._method, "__get__") else self._method
        return method if instance is None else MethodRegistrar(self, instance, method)

    def register(self, instance: Callbacks) -> None:
        """Set the method as the callback of an instance. Raises TypeError, as `store`."""
        self.store(instance, self.__get__(instance, type(instance)).method)


class MethodRegistrar(Registrar):
    """`worker.on_message` where the class defines `on_message`: a call calls the method, a decorator is refused."""

    __slots__ = ("method",)

    def __init__(self, event: Event[Any, Any], owner: Callbacks, method: Callable[..., Any]) -> None:
        super().__init__(event, owner)
        self.method = method

    def __call__(self, *args: Any, **named: Any) -> Any:
        decorates = not args or (len(args) == 1 and inspect.isroutine(args[0]))
        return super().__call__(*args, **named) if decorates else self.method(*args, **named)


class Callbacks:
    """An object with callbacks, which are the `Event`s of its class."""

    def __init_subclass__(cls, **named: Any) -> None:
        """Set methods with the name of a callback as callbacks. Raises AttributeError for a misspelt name."""
        super().__init_subclass__(**named)
        for name in filter(_LIKE_AN_EVENT.match, dir(cls)):
            found = [vars(one)[name] for one in cls.__mro__ if name in vars(one)]
            event = next((value for value in found if isinstance(value, Event)), None)
            methods = [value for value in found if type(value) is not Event]
            if event is None:
                if callable(methods[0]) and _meant(cls, name):
                    raise _no_such_event(cls, name)
            elif methods and not isinstance(methods[0], MethodEvent):
                setattr(cls, name, MethodEvent(event, methods[0]))

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[..., Any]] = {}
        self.threads = THREADS  # of each process, for callbacks that are `threaded`
        self._thread_pool: ThreadPoolExecutor | None = None
        for name in _event_names(type(self)):
            event = inspect.getattr_static(type(self), name)
            if isinstance(event, MethodEvent):
                event.register(self)

    def thread_pool(self) -> Executor:
        """The thread pool of this process, created at the first use."""
        if self._thread_pool is None:
            self._thread_pool = ThreadPoolExecutor(self.threads, thread_name_prefix="callback")
        return self._thread_pool

    def uncalled(self, event: str) -> str:
        """Return why a callback would never be called; "" if it would be."""
        return ""

    if not TYPE_CHECKING:  # a type checker sees wrong names by itself, as long as these two do not hide them

        def __setattr__(self, name: str, value: Any) -> None:
            if callable(value) and _LIKE_AN_EVENT.match(name) and not hasattr(type(self), name):
                raise _no_such_event(type(self), name)
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> Any:
            if _LIKE_AN_EVENT.match(name):
                raise _no_such_event(type(self), name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)


def _event_names(owner: type) -> list[str]:
    return sorted({key for cls in owner.__mro__ for key, value in vars(cls).items() if isinstance(value, Event)})


def _near(owner: type, name: str, cutoff: float) -> list[str]:
    """Return the callback that a name resembles most, if any."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()  # as in Workerman: onMessage
    return difflib.get_close_matches(snake, _event_names(owner), n=1, cutoff=cutoff)


def _meant(owner: type, name: str) -> bool:
    """True if a method's name is so near to a callback's that it is a mistake; others may begin with `on_`, too."""
    return bool(_near(owner, name, 0.85))


def _no_such_event(owner: type, name: str) -> AttributeError:
    near = _near(owner, name, 0.6)
    hint = f": did you mean {near[0]}?" if near else f"; there are {', '.join(_event_names(owner))}"
    return AttributeError(f"{owner.__name__} has no callback {name}{hint}")


def signature_of(callback: Callable[..., Any]) -> inspect.Signature | None:
    """What it takes itself; None: it does not tell, as some of those written in C.

    What a decorator wraps is not asked where its own function can be: it may hand over other arguments than it gets.
    """
    for follow in (False, True):  # a static method tells only by what it wraps
        try:
            return inspect.signature(callback, follow_wrapped=follow)
        except (TypeError, ValueError):
            continue
    return None


def _is(callback: Callable[..., Any], kind: Callable[[Any], bool]) -> bool:
    """Return whether a callback, or the `__call__` of a callable object, is of a kind."""
    return kind(callback) or kind(getattr(callback, "__call__", None))  # noqa: B004  # the method is wanted


def _named(callback: Callable[..., Any]) -> str:
    """The name of a callback and where it is defined."""
    code = getattr(inspect.unwrap(callback), "__code__", None)
    name = getattr(callback, "__qualname__", None) or repr(callback)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name

"""The database that holds a search's trials: opened with heartbeats, its troubles told in one line."""

import contextlib
import functools
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aljax.errors import UserError, one_line

HEARTBEAT_SECONDS = 20
"""How often a worker says that it is still at work on its trials."""
GRACE_SECONDS = 120
"""A worker that has said nothing for so long is taken for dead."""
_LOCK_SECONDS = 120
"""How long to wait for another worker's turn at an SQLite file."""
_ATTEMPTS = 6
DAMAGED = "changed or damaged: begin the search anew, with another --out or --study"
"""What is told of a database that holds what was not written there."""


def load_optuna() -> Any:
    """Optuna, silent.

    Returns:
      The module.

    Raises:
      UserError: it is not installed; how to get it.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("adaptive search needs Optuna: pip install 'aljax[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextlib.contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Without Optuna's warnings that heartbeats are new, and that they are not beaten outside of its own loop.

    Args:
      optuna: the module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")
        yield


def open_storage(url: str, optuna: Any) -> Any:
    """A study's database, with heartbeats.

    Args:
      url: SQLAlchemy's, of the database.
      optuna: the package.

    Returns:
      Optuna's storage.

    Raises:
      UserError: it cannot be opened.
    """
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    engine = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}
    for left in reversed(range(_ATTEMPTS)):
        try:
            with quiet(optuna):
                storage = optuna.storages.RDBStorage(
                    url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                    engine_kwargs=engine,
                    heartbeat_interval=HEARTBEAT_SECONDS,
                    grace_period=GRACE_SECONDS,
                )
            if storage.engine.dialect.name == "sqlite":
                _take_turns(storage.engine, event)
            return storage
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            # Of two workers that make the tables at once, one finds some that were not there a moment before.
            if not left:
                raise UserError(f"study: cannot be opened: {reason(error)}") from None
            time.sleep(0.5 * random.random())
        except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
            raise UserError(f"study: cannot be opened: {reason(error)}") from None
    raise AssertionError("the last attempt returns or raises")


def sqlite_url(path: Path) -> str:
    """SQLAlchemy's URL of an SQLite file.

    Args:
      path: of the file.

    Returns:
      The URL.
    """
    import sqlalchemy

    return sqlalchemy.URL.create("sqlite", database=str(path.absolute())).render_as_string(hide_password=False)


class Pulse(threading.Thread):
    """Says now and then that this worker lives, for each of its trials: Optuna does so only in its own loop."""

    def __init__(self, storage: Any):
        super().__init__(daemon=True)
        self.storage = storage
        self.trials: set[int] = set()
        self.stopped = threading.Event()

    def add(self, trial: int) -> None:
        """From now on for this trial too; the first time at once."""
        self.trials.add(trial)
        self.beat(trial)

    def discard(self, trial: int) -> None:
        """No more for this one."""
        self.trials.discard(trial)

    def beat(self, trial: int) -> None:
        """Once. A beat that the database was too busy for is not missed: there is a next one."""
        with contextlib.suppress(Exception):
            self.storage.record_heartbeat(trial)

    def run(self) -> None:
        """Until stopped."""
        while not self.stopped.wait(HEARTBEAT_SECONDS):
            for trial in tuple(self.trials):
                self.beat(trial)
        self.storage.remove_session()

    def stop(self) -> None:
        """Ends the thread."""
        self.stopped.set()
        self.join()


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a method say in one line what a damaged or lost database makes of Optuna: a `UserError`.

    Args:
      method: that asks the database.

    Returns:
      The method, guarded by `told`.
    """

    @functools.wraps(method)
    def guarded(self: Any, *given: Any) -> Any:
        with told():
            return method(self, *given)

    return guarded


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Says in one line, as a `UserError`, what a damaged or lost database makes of Optuna."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of JSON, enumerations and columns that cannot be read, besides SQLAlchemy's
        raise UserError(f"study: {reason(error)}; what is finished is kept") from None


def reason(error: Exception) -> str:
    """What a database said, in one line of at most 300 characters, without SQLAlchemy's hints.

    Args:
      error: as SQLAlchemy or Optuna raised it.

    Returns:
      Text of one line.
    """
    cause = error.__cause__ or error
    return one_line(getattr(cause, "orig", None) or cause)[:300] or type(error).__name__


def _take_turns(engine: Any, event: Any) -> None:
    """Makes every transaction on an SQLite file wait for the one before it to end.

    Otherwise two workers that read before they write could both take the same trial, and one of two that want to write
    after reading is refused at once ("database is locked"), however long it is willing to wait.
    """

    def by_hand(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python begins no transactions of its own

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", by_hand)
    event.listen(engine, "begin", begin)
    engine.dispose()  # connections made before

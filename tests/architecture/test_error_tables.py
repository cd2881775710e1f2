"""Every error says what the other side should do, in both tables: gRPC status and task outcome."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator

import pytest

from ostinato import errors
from ostinato.rpc.error_mapping import STATUS_CODES
from ostinato.taskqueue.outcome import ERROR_VERDICTS
from tests.architecture.source_tree import own_sources

TABLES = {"gRPC status": STATUS_CODES, "task outcome": ERROR_VERDICTS}
Error = type[BaseException]


def error_classes() -> list[Error]:
    """All of the project's: those of errors.py and what other modules derive from them."""
    for source in own_sources():
        if source.path.startswith("libs/") and not source.path.endswith("__main__.py"):
            importlib.import_module(source.path.removeprefix("libs/").removesuffix(".py").replace("/", "."))
    return sorted(_descendants(errors.OstinatoError), key=lambda kind: kind.__name__)


def _descendants(kind: Error) -> Iterator[Error]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def unmapped(kinds: Iterable[Error], table: Iterable[Error]) -> list[str]:
    """Errors that neither stand in the table nor have an ancestor there that says more than `OstinatoError`."""
    telling = set(table) - {errors.OstinatoError, Exception, BaseException}
    return [kind.__name__ for kind in kinds if not telling.intersection(kind.__mro__)]


@pytest.mark.parametrize("name", TABLES)
def test_every_error_is_in_both_tables(name: str) -> None:
    kinds = error_classes()
    assert len(kinds) > 15
    assert unmapped(kinds, TABLES[name]) == []


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = inspect.getdoc(errors) or ""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.OstinatoError)]
    abstract = {errors.ResourceError}  # only carries the resource's name for two of the leaves
    assert [kind.__name__ for kind in kinds if kind.__name__ not in drawn and kind not in abstract] == []


def test_an_error_without_an_entry_is_found() -> None:
    class Unheard(errors.OstinatoError):
        pass

    assert unmapped([Unheard], STATUS_CODES) == ["Unheard"]
    assert unmapped([Unheard], ERROR_VERDICTS) == ["Unheard"]

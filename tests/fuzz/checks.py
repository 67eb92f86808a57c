"""Checks that hold for every error and every backup, whatever the response was."""

# pyright: basic

import copy
import json
import logging
import math
import pickle
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from cloudhsm_restore import ApiError, Backup, RestoreError, exceptions

PUBLIC_ERRORS: Final = frozenset(getattr(exceptions, name) for name in exceptions.__all__)


def holds(condition: object, message: str) -> None:
    """Raise AssertionError unless the condition holds; unlike assert, also with ``python -O``."""
    if not condition:
        raise AssertionError(message)


@cache
def service_model() -> ServiceModel:
    """Return botocore's service model."""
    return ServiceModel(Loader().load_service_model("cloudhsmv2", "service-2"), "cloudhsmv2")


def fits(value: Any, shape: str) -> bool:
    """Return whether botocore's validator accepts the value for a shape of the service model."""
    return not ParamValidator().validate(value, service_model().shape_for(shape)).has_errors()


class _Lines(logging.Handler):
    """Formats the records of the library, as any handler does."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._format = logging.Formatter("%(levelname)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self._format.format(record))


@contextmanager
def logged() -> Generator[list[str]]:
    """Collect the lines that the library logs at DEBUG."""
    logger, lines = logging.getLogger("cloudhsm_restore"), _Lines()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield lines.lines
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
        logger.propagate = propagate


def check_line(line: str) -> None:
    """Check that a text is one line, and can be encoded in UTF-8."""
    holds(line.splitlines() == [line], f"not one line: {line!r}")
    line.encode()


def check_error(error: RestoreError, secrets: Iterable[str] = ()) -> None:
    """Check that an error is of a public class, has one line, shows no secret, and can be pickled and copied."""
    holds(type(error) in PUBLIC_ERRORS, f"{type(error)} is not public")
    check_line(str(error))
    for flag in (error.outcome_unknown, error.retryable):
        holds(isinstance(flag, bool), f"{flag!r} is not a bool")
    pickled = pickle.dumps(error)
    for again in (pickle.loads(pickled), copy.copy(error), copy.deepcopy(error)):
        holds(type(again) is type(error), "another class after pickle or copy")
        holds(str(again) == str(error), "another message after pickle or copy")
        holds(repr(vars(again)) == repr(vars(error)), "other attributes after pickle or copy")
    if isinstance(error, ApiError):
        for text in (error.code, error.message, error.request_id or "", error.operation_name):
            holds(isinstance(text, str), f"{text!r} is not a string")
        holds(error.http_status_code is None or isinstance(error.http_status_code, int), "not a status")
    # Secrets in a backup are not masked, because its fields are those of the response.
    without = copy.copy(error)
    without.backup = None
    shown = [str(error), repr(error), repr(vars(without)), pickle.dumps(without, 0).decode("latin-1")]
    shown += traceback.format_exception(error)
    carried = [*_carried(error)]
    shown += [
        repr(item) if isinstance(item, bytes) else item for item in carried if isinstance(item, str | bytes)
    ]
    causes = [item for item in carried if isinstance(item, BaseException)]
    for cause in causes[:20]:  # The others are within those, or their texts are carried, too.
        # Exceptions that nest deeper than Python's limit of recursion show nothing.
        with suppress(RecursionError):
            shown += [str(cause), repr(cause), repr(vars(cause) | {"backup": None})]
    for secret in secrets:
        for text in shown:
            at = text.find(secret)
            holds(at < 0, f"{secret} is shown: {text[max(at - 150, 0) : at + 10]!r}")


def _carried(error: BaseException) -> Iterator[object]:
    """Yield the exceptions that this one came from, and what those carry."""
    remaining: list[Any] = [error.__cause__, error.__context__]
    seen: set[int] = {id(error)}
    while remaining:
        item = remaining.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, BaseException):
            remaining += [item.__cause__, item.__context__, item.args, vars(item)]
        elif isinstance(item, list | tuple):
            remaining += item
        elif isinstance(item, dict):
            remaining += item.values()


def check_backup(backup: Backup) -> None:
    """Check that a backup can be hashed, printed, and pickled, and that its dumps validate to an equal one."""
    hash(backup)
    repr(backup)
    holds(pickle.loads(pickle.dumps(backup)) == backup or _has_nan(backup), "another after pickle")
    holds(copy.deepcopy(backup) == backup or _has_nan(backup), "another after copy")
    if _has_a_field_twice(backup):
        return
    for dumped in (
        backup.model_dump(),
        backup.model_dump(by_alias=True),
        backup.model_dump(by_alias=True, exclude_unset=True),
    ):
        holds(Backup.model_validate(dumped) == backup or _has_nan(backup), f"another after {dumped}")
    if _is_unicode(backup):
        text = backup.model_dump_json(by_alias=True)
        holds(
            Backup.model_validate_json(text).model_dump_json(by_alias=True) == text, f"another after {text}"
        )
    holds(dict(backup.tags) == {tag.key: tag.value for tag in backup.tag_list}, "other tags")
    holds(backup.is_restorable == (backup.backup_state == "PENDING_DELETION"), "is_restorable is wrong")
    for timestamp in (backup.create_timestamp, backup.copy_timestamp, backup.delete_timestamp):
        holds(timestamp is None or timestamp.tzinfo is UTC, "a timestamp that is not in UTC")
    left = backup.time_left(datetime(2026, 1, 1, tzinfo=UTC))
    holds((left is None) == (backup.delete_timestamp is None), "time_left without delete_timestamp")
    for value in (backup.backup_state, backup.mode):
        holds(value is None or type(value)(str(value)) == value, "another value after str")


_NAMES: Final = {field.alias for field in Backup.model_fields.values()} | set(Backup.model_fields)
_NAMES_OF_A_TAG: Final = {"Key", "Value", "key", "value"}


def _has_a_field_twice(backup: Backup) -> bool:
    # If a field has both of its names, BackupId and backup_id, pydantic keeps one of them as extra.
    return bool(
        _NAMES & set(backup.model_extra or ())
        or any(_NAMES_OF_A_TAG & set(tag.model_extra or ()) for tag in backup.tag_list)
    )


def _is_unicode(backup: Backup) -> bool:
    # JSON can contain a lone surrogate. Python and pydantic parse it; pydantic does not write it.
    return "\\ud" not in json.dumps(backup.model_dump(), default=str)


def _has_nan(value: Any) -> bool:
    # NaN is not equal to itself, and Python's json parses it.
    if isinstance(value, Backup):
        return _has_nan(value.model_extra) or any(_has_nan(tag.model_extra) for tag in value.tag_list)
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    if isinstance(value, list):
        return any(map(_has_nan, value))
    return isinstance(value, float) and math.isnan(value)

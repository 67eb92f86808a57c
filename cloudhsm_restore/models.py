"""The values that this library returns: `Backup`, `Tag`, `BackupState`, `Mode`, and `RestoreResult`.

All of them are frozen, hashable, and independent of boto3. The fields follow botocore's service model
``cloudhsmv2/2017-04-28``; ``tests/test_contract.py`` compares the two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Strict
from pydantic.alias_generators import to_pascal

if TYPE_CHECKING:
    from .exceptions import RestoreError

__all__ = ["Backup", "BackupState", "Mode", "RestoreResult", "Tag"]


class _OpenStrEnum(StrEnum):
    """A string enum that AWS may extend: an unknown value becomes a member that iteration does not list."""

    @property
    def is_known(self) -> bool:
        """Whether this version of the library has the value."""
        return self._name_ in type(self).__members__

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: object) -> dict[str, Any]:
        # pydantic would generate a closed ``enum`` of today's members, and AWS may add more.
        known = [member.value for member in cls]
        return {"title": cls.__name__, "description": cls.__doc__, "type": "string", "examples": known}


class BackupState(_OpenStrEnum):
    """The state of a backup, as in the service model. One that AWS adds later has ``is_known == False``."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    """The backup is being created."""
    READY = "READY"
    """The backup can be used."""
    DELETED = "DELETED"
    """The backup has been permanently deleted."""
    PENDING_DELETION = "PENDING_DELETION"
    """The backup was deleted less than 7 days ago and can be restored until ``delete_timestamp``."""


class Mode(_OpenStrEnum):
    """The mode of the cluster that was backed up. The service model's ``ClusterMode``."""

    FIPS = "FIPS"
    """The cluster uses only keys and algorithms that FIPS allows."""
    NON_FIPS = "NON_FIPS"
    """The cluster uses every key and algorithm that CloudHSM supports."""


def _to_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value.isoformat()} does not exist in UTC") from None


_UTC = AfterValidator(_to_utc)


def _add_field_descriptions(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Add the docstrings of the fields to the JSON schema.

    pydantic's own ``use_attribute_docstrings`` reads the source whenever this module is imported. With
    pydantic 2.14 that raised the import time of two small models from 7 to 41 ms.
    """
    import ast
    from inspect import cleandoc, getsource

    # A subclass may be defined where its source cannot be read, so use the class of this module.
    documented = next(cls for cls in model.__mro__ if cls.__module__ == __name__)
    try:
        [source] = ast.parse(getsource(documented)).body
    except OSError:  # The application was shipped without sources.
        return
    for statement, after in pairwise(source.body if isinstance(source, ast.ClassDef) else ()):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(docstring))):
                for key in (name, model.model_fields[name].alias):
                    if key in schema["properties"]:
                        schema["properties"][key].setdefault("description", cleandoc(docstring))
            case _:
                pass


class _Model(
    BaseModel,
    frozen=True,
    extra="allow",
    alias_generator=to_pascal,
    populate_by_name=True,
    json_schema_extra=_add_field_descriptions,
):
    """The configuration that `Tag` and `Backup` share."""


class Tag(_Model, frozen=True):
    """A key-value pair on a backup."""

    key: str
    """The key of the tag."""
    value: str
    """The value of the tag."""


class Backup(_Model, frozen=True):
    """A backup of a CloudHSM cluster, as the service describes it.

    Create one from boto3's dict (``Backup.model_validate(response["Backup"])``) or from keywords
    (``Backup(backup_id="backup-...")``). Timestamps are aware and in UTC; a naive one is read as UTC.
    Fields that AWS adds later are kept in ``model_extra``. To convert back to boto3's dict, use
    ``backup.model_dump(by_alias=True, exclude_unset=True)``.

    Only ``backup_id`` is required, as in the service model. AWS's documentation adds that every backup
    has a state, a cluster ID, and a creation time; the response to RestoreBackup may omit any of them.
    """

    backup_id: str
    """The identifier (ID) of the backup."""
    backup_arn: str | None = None
    """The Amazon Resource Name (ARN) of the backup."""
    backup_state: BackupState | None = None
    """The state of the backup."""
    cluster_id: str | None = None
    """The identifier (ID) of the cluster that was backed up."""
    create_timestamp: Annotated[datetime, _UTC] | None = None
    """When the backup was created (UTC)."""
    copy_timestamp: Annotated[datetime, _UTC] | None = None
    """When the backup was copied from its source backup (UTC); on copies only."""
    never_expires: Annotated[bool, Strict()] | None = None
    """Whether the backup is exempt from its cluster's retention policy."""
    source_region: str | None = None
    """The AWS Region that holds the source backup; on copies only."""
    source_backup: str | None = None
    """The identifier (ID) of the source backup; on copies only."""
    source_cluster: str | None = None
    """The identifier (ID) of the source backup's cluster; on copies only."""
    delete_timestamp: Annotated[datetime, _UTC] | None = None
    """When the backup will be permanently deleted (UTC), about 7 days after it was deleted."""
    tag_list: tuple[Tag, ...] = ()
    """The tags of the backup, in the service's order. ``tags`` has them as a mapping."""
    hsm_type: str | None = None
    """The HSM type used to create the backup, such as ``hsm1.medium``."""
    mode: Mode | None = None
    """The mode of the cluster that was backed up."""

    if TYPE_CHECKING:
        # pydantic generates the real ``__init__``. This one shows type checkers that it accepts more than the
        # field types: strings for enums, and any iterable of tags.

        def __init__(
            self,
            *,
            backup_id: str,
            backup_arn: str | None = None,
            backup_state: BackupState | str | None = None,
            cluster_id: str | None = None,
            create_timestamp: datetime | None = None,
            copy_timestamp: datetime | None = None,
            never_expires: bool | None = None,
            source_region: str | None = None,
            source_backup: str | None = None,
            source_cluster: str | None = None,
            delete_timestamp: datetime | None = None,
            tag_list: Iterable[Tag | Mapping[str, str]] = (),
            hsm_type: str | None = None,
            mode: Mode | str | None = None,
        ) -> None:
            """Create a backup from keywords.

            A state and a mode can be strings, and a tag can be a dict in AWS's shape.

            Raises:
                pydantic.ValidationError: a value is invalid.
            """

    def model_post_init(self, context: object, /) -> None:  # noqa: ARG002  (pydantic's signature)
        # The service sends empty tag lists, and boto3's validator rejects them: treat empty as unset.
        fields = self.model_fields_set
        for name, value in self.__dict__.items():
            if value is None:
                fields.discard(name)
        if not self.tag_list:
            fields.discard("tag_list")

    # The three below also hold for `model_copy(update=...)` and `model_construct`, with which pydantic does
    # not convert values: a state may be a plain string, a time naive, and a tag a dict.

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags as a read-only mapping of key to value."""
        return MappingProxyType({tag.key: tag.value for tag in map(Tag.model_validate, self.tag_list or ())})

    @property
    def is_restorable(self) -> bool:
        """Whether RestoreBackup accepts this backup, which it does while the backup is PENDING_DELETION."""
        return self.backup_state == BackupState.PENDING_DELETION

    def time_left(self, now: datetime | None = None) -> timedelta | None:
        """Return the time until the backup is permanently deleted; negative once it has passed.

        Args:
            now: the current time; by default this machine's clock. A naive time is read as UTC.

        Returns:
            The time, or None if the service gave no ``delete_timestamp``: the backup is not pending deletion.
        """
        if self.delete_timestamp is None:
            return None
        return _to_utc(self.delete_timestamp) - _to_utc(now or datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The result of one backup ID passed to ``restore_backups``: a backup or an error, never both."""

    backup_id: str
    """The ID as it was passed."""
    backup: Backup | None = None
    """The backup, which is READY; None if the restore failed."""
    error: "RestoreError | None" = None
    """Why the restore failed; None if it succeeded."""
    changed: bool | None = None
    """Whether this call restored the backup.

    False if it was READY before any attempt of this call could have restored it. None if that cannot be
    known, because the outcome of an attempt was ambiguous, or if the restore failed.
    """
    request_id: str | None = None
    """AWS's ID of the request that showed the backup READY; None if the restore failed."""

    def __post_init__(self) -> None:
        if self.backup is not None and self.error is not None:
            raise ValueError("a result has either a backup or an error")

    @property
    def ok(self) -> bool:
        """Whether the backup is READY. A type checker narrows ``backup is not None``, but not this."""
        return self.backup is not None

    def unwrap(self) -> Backup:
        """Return the backup, or raise the error.

        Raises:
            RestoreError: the restore failed; this is ``error``.
        """
        if self.backup is None:
            from .exceptions import RestoreError

            raise self.error or RestoreError(
                "there is neither a backup nor an error", backup_id=self.backup_id
            )
        return self.backup

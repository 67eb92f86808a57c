"""What the service answers with, as types: `Backup`, `Tag`, `BackupState`, `Mode`.

Everything here is a value: frozen, hashable, and independent of boto3. The shapes follow botocore's
service model `cloudhsmv2/2017-04-28`; `tests/test_contract.py` holds them against it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Strict
from pydantic.alias_generators import to_pascal

__all__ = ["Backup", "BackupState", "Mode", "Tag"]


class _OpenStrEnum(StrEnum):
    """A string enum that AWS may extend: an unknown value becomes a member that is not listed."""

    @property
    def is_known(self) -> bool:
        """Whether this version of the library knows the value."""
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
        # pydantic's own is a list of the members, and closed.
        known = [member.value for member in cls]
        return {"title": cls.__name__, "description": cls.__doc__, "type": "string", "examples": known}


class BackupState(_OpenStrEnum):
    """Where a backup is in its life, as in the service model. One added later has ``is_known == False``."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    """The service is still making the backup."""
    READY = "READY"
    """The backup can be used."""
    DELETED = "DELETED"
    """The backup is gone for good."""
    PENDING_DELETION = "PENDING_DELETION"
    """The backup was deleted less than 7 days ago and can be restored until ``delete_timestamp``."""


class Mode(_OpenStrEnum):
    """The mode of the cluster that was backed up. The service model's ``ClusterMode``."""

    FIPS = "FIPS"
    """The cluster uses only keys and algorithms that FIPS allows."""
    NON_FIPS = "NON_FIPS"
    """The cluster uses every key and algorithm that CloudHSM supports."""


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} does not exist in UTC") from None


_UTC = AfterValidator(_in_utc)


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Put the docstrings of the fields into the JSON schema.

    pydantic's own ``use_attribute_docstrings`` would read the source whenever this module is imported, which
    takes longer than all the rest of it.
    """
    import ast
    from inspect import cleandoc, getsource

    # Of a subclass there may be no source.
    ours = next(each for each in model.__mro__ if each.__module__ == __name__)
    try:
        [source] = ast.parse(getsource(ours)).body
    except OSError:  # an application that is shipped without sources
        return
    for statement, after in pairwise(source.body if isinstance(source, ast.ClassDef) else ()):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(docstring))):
                for key in (name, model.model_fields[name].alias):
                    if key in schema["properties"]:
                        schema["properties"][key].setdefault("description", cleandoc(docstring))
            case _:
                pass


class Tag(
    BaseModel,
    frozen=True,
    extra="allow",
    alias_generator=to_pascal,
    populate_by_name=True,
    json_schema_extra=_describe,
):
    """A key-value pair on a backup."""

    key: str
    """The key of the tag."""
    value: str
    """The value of the tag."""


class Backup(
    BaseModel,
    frozen=True,
    extra="allow",
    alias_generator=to_pascal,
    populate_by_name=True,
    json_schema_extra=_describe,
):
    """A backup of a CloudHSM cluster, as the service describes it.

    Made from boto3's dict (``Backup.model_validate(response["Backup"])``) or from keywords
    (``Backup(backup_id="backup-...")``). Timestamps are aware and in UTC; a naive one is read as UTC.
    A field that AWS adds later is kept in ``model_extra``. The way back to boto3's shape is
    ``backup.model_dump(by_alias=True, exclude_unset=True)``.

    Only ``backup_id`` is required, as in the service model. AWS's documentation adds that every backup
    has a state, a cluster ID and a creation time; the answer to RestoreBackup may leave any of them out.
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
    """When the backup was made (UTC)."""
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
    """When the backup will be deleted for good (UTC), about 7 days after it was deleted."""
    tag_list: tuple[Tag, ...] = ()
    """The tags of the backup, in the service's order. ``tags`` has them as a mapping."""
    hsm_type: str | None = None
    """The HSM type used to create the backup, such as ``hsm1.medium``."""
    mode: Mode | None = None
    """The mode of the cluster that was backed up."""

    if TYPE_CHECKING:
        # pydantic makes it, and it takes more than the fields then hold: a state as a string, any iterable.

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
            """Make a backup from keywords; pydantic's ``ValidationError`` where a value cannot be one.

            A state and a mode can be given as strings, and a tag as a dict in AWS's shape.
            """

    def model_post_init(self, context: object, /) -> None:  # noqa: ARG002  (pydantic's signature)
        # The service sends empty tag lists and boto3's validator refuses them: empty counts as unset.
        fields = self.model_fields_set
        for name, value in self.__dict__.items():
            if value is None:
                fields.discard(name)
        if not self.tag_list:
            fields.discard("tag_list")

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags as a read-only mapping of key to value."""
        return MappingProxyType({tag.key: tag.value for tag in self.tag_list})

    @property
    def is_restorable(self) -> bool:
        """Whether RestoreBackup takes this backup, which it does while it is PENDING_DELETION."""
        return self.backup_state is BackupState.PENDING_DELETION

    def time_left(self, now: datetime | None = None) -> timedelta | None:
        """How long until the backup is deleted for good; negative once that moment has passed.

        ``now`` defaults to this machine's clock; a naive one is read as UTC. ``None`` where the service
        gave no ``delete_timestamp``, which is to say that the backup is not pending deletion.
        """
        if self.delete_timestamp is None:
            return None
        return self.delete_timestamp - _in_utc(now or datetime.now(UTC))

"""What a topic may say. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from google.pubsub_v1 import types

from ostinato.localcloud.pubsub.config_masks import merge_by_mask, refuse_fields
from ostinato.localcloud.pubsub.resource_names import check_topic_name
from ostinato.localcloud.pubsub.wire_types import Topic

_UNSUPPORTED = frozenset(
    (
        "kms_key_name",
        "schema_settings",
        "message_retention_duration",
        "ingestion_data_source_settings",
        "message_transforms",
        "tags",
    )
)
_MUTABLE = frozenset(("labels", "message_storage_policy"))
_OUTPUT_ONLY = ("state", "satisfies_pzs")


def complete_topic(given: types.Topic) -> types.Topic:
    """A copy as it is stored. Raises InvalidArgument."""
    check_topic_name(given.name, "name")
    refuse_fields(given, _UNSUPPORTED)
    topic = Topic()
    topic.CopyFrom(given)
    for field in _OUTPUT_ONLY:
        topic.ClearField(field)
    topic.state = types.Topic.State(types.Topic.State.ACTIVE)
    return topic


def update_topic(current: types.Topic, given: types.Topic, mask: Sequence[str]) -> types.Topic:
    merged: types.Topic = merge_by_mask(current, given, mask, _MUTABLE)
    return complete_topic(merged)

"""What the hub's answers say: facts of models, results, commits. Read with the hub's own client where it has a reader."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from weighhouse.rules.evidence import Claim, Commit, HubModel, Missing, Reason
from weighhouse.rules.parents import MAX_PARENTS, RELATIONS, Relation
from weighhouse.rules.strictjson import UnacceptableJson, loads

_SHA = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Who makes the first commit of every repository.
_HUB_ITSELF = "system"
# What the client's readers raise on answers of another shape.
_MISSHAPEN = (KeyError, TypeError, ValueError, AttributeError)
_ID = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class HubFile:
    """A file of a commit, as the hub lists it.

    Args:
        sha256: Digest of the content of a large file; `None` for a small one.
        git_sha1: Digest of the file as a git blob; for a large file that of its pointer.
    """

    path: str
    size_bytes: int
    sha256: str | None
    git_sha1: str | None
    is_sized: bool = True
    """Whether the hub said how long it is; else `size_bytes` is 0."""


def read_json(body: bytes, what: str) -> Any:
    """The document of an answer.

    Raises:
        Missing: It is no JSON (`malformed`).
    """
    try:
        return loads(body, max_string_bytes=None)
    except UnacceptableJson as error:
        raise Missing(Reason.MALFORMED, f"The hub's answer about {what[:60]} is not JSON; tell its operator") from error


def read_object(body: bytes, what: str) -> Mapping[str, Any]:
    """The JSON object of an answer.

    Raises:
        Missing: It is something else (`malformed`).
    """
    document = read_json(body, what)
    if not isinstance(document, dict):
        raise Missing(Reason.MALFORMED, f"The hub's answer about {what[:60]} is no object; tell its operator")
    return document


def read_info(body: bytes, what: str) -> Mapping[str, Any]:
    """The facts of a repository, which name a commit and list its files.

    Raises:
        Missing: They do not (`malformed`).
    """
    document = read_object(body, what)
    commit_of(document, what)
    if not isinstance(document.get("siblings"), list):
        raise Missing(Reason.MALFORMED, f"The hub lists no files of {what[:60]}; tell its operator")
    return document


def commit_of(document: Mapping[str, Any], what: str) -> str:
    """The commit that an answer is about.

    Raises:
        Missing: It names none (`malformed`).
    """
    sha = document.get("sha")
    if not isinstance(sha, str) or not _SHA.fullmatch(sha):
        raise Missing(Reason.MALFORMED, f"The hub names no commit of {what[:60]}; tell its operator")
    return sha


def files_of(document: Mapping[str, Any]) -> Sequence[HubFile]:
    """The files of a commit, those of odd shape left out."""
    listed = document.get("siblings")
    return [file for one in listed if (file := _file(one))] if isinstance(listed, list) else []


def _file(one: object) -> HubFile | None:
    if not isinstance(one, dict) or not isinstance(one.get("rfilename"), str):
        return None
    lfs = one.get("lfs") if isinstance(one.get("lfs"), dict) else {}
    assert isinstance(lfs, dict)
    size = _count(one.get("size")) if lfs.get("size") is None else _count(lfs["size"])
    sha256, sha1 = lfs.get("sha256"), one.get("blobId")
    return HubFile(
        path=one["rfilename"],
        size_bytes=size or 0,
        sha256=sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None,
        git_sha1=sha1 if isinstance(sha1, str) and _SHA.fullmatch(sha1) else None,
        is_sized=size is not None,
    )


def model_of(model_id: str, document: Mapping[str, Any], more: Mapping[str, Any]) -> HubModel:
    """The facts of a model.

    Args:
        model_id: The id that was asked for; what the answer calls itself is not believed.
        document: The answer with the files' sizes.
        more: The answer with what only comes when it is asked for.

    Raises:
        Missing: An answer has not the shape that the client knows (`malformed`).
    """
    from huggingface_hub import ModelInfo

    # The results are read one by one elsewhere: the client's reader drops all of them for one bad entry.
    own = {"id": model_id, "evalResults": None}
    try:
        info: ModelInfo = ModelInfo(**{**document, **own})  # type: ignore[no-untyped-call]  # the client does not say
        extra: ModelInfo = ModelInfo(**{**more, **own})  # type: ignore[no-untyped-call]  # the client does not say
    except _MISSHAPEN as error:
        raise Missing(Reason.MALFORMED, f"The hub's answer about {model_id[:60]} has an unknown shape") from error
    bases, relation = _bases(extra.base_models)
    gguf = extra.gguf if isinstance(extra.gguf, dict) else {}
    return HubModel(
        id=model_id,
        sha=commit_of(document, model_id),
        pipeline_tag=_text(info.pipeline_tag),
        library_name=_text(info.library_name),
        license=_license(document),
        base_models=bases,
        base_relation=relation,
        file_sizes={file.path: file.size_bytes for file in files_of(document)},
        parameters=_count(extra.safetensors.total) if extra.safetensors else None,
        gguf_parameters=_count(gguf.get("total")),
        gated=bool(info.gated or extra.gated),
        has_widget_examples=bool(extra.widget_data),
        config=info.config if isinstance(info.config, dict) else {},
    )


def claims_of(document: Mapping[str, Any]) -> Sequence[Claim]:
    """The results that the hub lists for a model; a misshapen entry hides none of the others."""
    from huggingface_hub import parse_eval_result_entries

    from weighhouse.sources.claims import benchmark_metric

    claims: list[Claim] = []
    for one in _mappings(document.get("evalResults")):
        try:
            entries = parse_eval_result_entries([one])
        except _MISSHAPEN:
            continue
        claims += [
            Claim(
                metric=benchmark_metric(_text(entry.task_id) or ""),
                value=entry.value,
                dataset=_text(entry.dataset_id),
                revision=_text(entry.dataset_revision),
                task=_text(entry.task_id),
                date=_text(entry.date),
                source_url=_text(entry.source_url),
                # Beside the author's entry, where only the hub writes.
                verified="data" in one and one.get("verified") is True,
                origin="hub",
            )
            for entry in entries
        ]
    return claims[:1_000]


def commits_of(rows: object) -> Sequence[Commit]:
    """The commits of a page, newest first; those of odd shape and the hub's own are left out."""
    found = []
    for row in _mappings(rows):
        try:
            at = datetime.fromisoformat(str(row["date"]))
            author = str(row["authors"][0]["user"])
        except (*_MISSHAPEN, IndexError):
            continue
        if author != _HUB_ITSELF:
            found.append(Commit(author, "", at if at.tzinfo else at.replace(tzinfo=UTC)))
    return found


def _license(document: Mapping[str, Any]) -> str | None:
    card = document.get("cardData")
    stated = card.get("license") if isinstance(card, dict) else None
    if isinstance(stated, list):
        stated = " AND ".join(one for one in stated if isinstance(one, str))
    if isinstance(stated, str) and stated:
        name = card.get("license_name") if isinstance(card, dict) else None
        return str(name)[:200] if stated == "other" and isinstance(name, str) and name else stated[:200]
    tags = document.get("tags")
    listed = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return next((tag.removeprefix("license:")[:200] for tag in listed if tag.startswith("license:")), None)


def _bases(listed: object) -> tuple[Sequence[str], Relation | None]:
    """Ids of the base models and their relation; the hub has written them as a list and as an object."""
    relation = listed.get("relation") if isinstance(listed, dict) else None
    models = listed.get("models") if isinstance(listed, dict) else listed
    ids = [one.get("id") if isinstance(one, dict) else one for one in models] if isinstance(models, list) else []
    known = tuple(one for one in ids if isinstance(one, str) and _ID.fullmatch(one))
    return known[:MAX_PARENTS], cast(Relation, relation) if relation in RELATIONS else None


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, dict | list | bool):
        return None
    return str(value)[:400] or None

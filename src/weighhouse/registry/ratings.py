"""Stars and reviews: one a user, the last one counts."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from weighhouse.registry.audit import record
from weighhouse.registry.paging import Page, page_of
from weighhouse.registry.visible import find_package, still_there
from weighhouse.rules.errors import Invalid
from weighhouse.rules.permissions import Caller, Permission
from weighhouse.store.tables import Rating, User

MAX_REVIEW_CHARACTERS = 10_000


class InvalidRating(Invalid):
    """This is not a rating."""


@dataclass(frozen=True)
class Rated:
    """A package's rating after a vote."""

    package_id: UUID
    score: int
    average_rating: float
    ratings: int


@dataclass(frozen=True)
class Review:
    """A rating with the name of who gave it, `None` when the user is gone."""

    rating: Rating
    username: str | None


def rate_package(tx: Session, caller: Caller, package_id: UUID, score: int, *, review: str | None = None) -> Rated:
    """Gives a package the caller's stars, in place of those they gave before.

    Args:
        score: 1 to 5.

    Raises:
        PermissionMissing: The caller may not search.
        InvalidRating: The stars are not 1 to 5, or the review is too long.
        PackageNotFound: There is no such package.
        TokenRefused: The caller was deleted meanwhile.
    """
    caller.require(Permission.SEARCH)
    if not 1 <= score <= 5:
        raise InvalidRating("A rating is a whole number from 1 to 5.", field="score")
    if review is not None and len(review) > MAX_REVIEW_CHARACTERS:
        raise InvalidRating(f"A review has at most {MAX_REVIEW_CHARACTERS} characters.", field="review")
    package = find_package(tx, caller, package_id)
    vote = insert(Rating).values(package_id=package_id, user_id=caller.user_id, score=score, review=review)
    vote = vote.on_conflict_do_update(
        index_elements=[Rating.package_id, Rating.user_id],
        set_={"score": score, "review": review, "rated_at": func.now()},
    )
    with still_there(package_id):
        tx.execute(vote)
    record(tx, caller, "rate package", f"package {package.name} {package.version}", package_id=package_id, score=score)
    query = select(func.avg(Rating.score), func.count()).where(Rating.package_id == package_id)
    average, count = tx.execute(query).one()
    return Rated(package_id, score, round(float(average), 2), count)


def list_ratings(
    tx: Session, caller: Caller, package_id: UUID, *, cursor: UUID | None = None, limit: int = 50
) -> Page[Review]:
    """A package's ratings, newest first.

    Args:
        cursor: Id of the last rating seen.

    Raises:
        PermissionMissing: The caller may not search.
        PackageNotFound: There is no such package.
    """
    caller.require(Permission.SEARCH)
    find_package(tx, caller, package_id)
    query = (
        select(Rating, User.username)
        .outerjoin(User, User.id == Rating.user_id)
        .where(Rating.package_id == package_id)
        .order_by(Rating.rated_at.desc(), Rating.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        seen = select(Rating.rated_at, Rating.id).where(Rating.id == cursor)
        query = query.where(tuple_(Rating.rated_at, Rating.id) < seen.scalar_subquery())
    total = tx.scalar(select(func.count()).where(Rating.package_id == package_id)) or 0
    rows = [Review(rating, username) for rating, username in tx.execute(query)]
    return page_of(rows, limit, lambda row: str(row.rating.id), total=total)

"""What row 1 is measured against: a bare Starlette application with one indexed SELECT a route.

It reads the same rows with the same driver and pool, in plain `def` routes under the same uvicorn settings. It knows no
tokens, no permissions, no logs.
"""

import os
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import create_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOUND = "id, name, version, description, license, net_score, uploaded_at"

_engine = create_engine(os.environ["BENCH_DATABASE_URL"], pool_size=20, max_overflow=0, isolation_level="AUTOCOMMIT")


def get_package(request: Request) -> Response:
    """The package, its files and the records of its evaluation."""
    rows = _rows(
        "SELECT p.*, m.* FROM packages p LEFT JOIN metrics m ON m.evaluation_id = p.evaluation_id WHERE p.id = %s",
        UUID(request.path_params["package_id"]),
    )
    return _answer(rows)


def get_packages(request: Request) -> Response:
    """The first 50 packages whose name holds a text."""
    return _answer(
        _rows(
            f"SELECT {_FOUND} FROM packages WHERE name_key LIKE %s ORDER BY name_key, version_key DESC LIMIT 50",
            f"%{request.query_params['name']}%",
        )
    )


def _rows(statement: str, value: Any) -> list[dict[str, Any]]:
    with _engine.connect() as connection:
        return [dict(row) for row in connection.exec_driver_sql(statement, (value,)).mappings()]


def _answer(rows: list[dict[str, Any]]) -> Response:
    return Response(orjson.dumps(rows, default=bytes.hex), media_type="application/json")


app = Starlette(
    routes=[Route("/package/{package_id}", get_package), Route("/packages", get_packages)],
)

"""The commands that talk to a server."""

import click

from weighhouse.doors.cli.accounts import tokens, users
from weighhouse.doors.cli.download import download
from weighhouse.doors.cli.evaluations import evaluations
from weighhouse.doors.cli.ingest import ingest
from weighhouse.doors.cli.license_check import license_check
from weighhouse.doors.cli.login import login, logout, whoami
from weighhouse.doors.cli.packages import (
    delete,
    evaluate,
    files,
    history,
    lineage,
    rate,
    ratings,
    search,
)
from weighhouse.doors.cli.provenance import bom, keys, statement, verify_statement
from weighhouse.doors.cli.show import show
from weighhouse.doors.cli.signing import sign, verify_signature
from weighhouse.doors.cli.system import health, logs, reset
from weighhouse.doors.cli.upload import upload

commands: tuple[click.Command, ...] = (
    login,
    logout,
    whoami,
    upload,
    ingest,
    search,
    show,
    download,
    files,
    bom,
    statement,
    verify_statement,
    keys,
    sign,
    verify_signature,
    rate,
    ratings,
    evaluate,
    evaluations,
    lineage,
    license_check,
    history,
    delete,
    users,
    tokens,
    health,
    logs,
    reset,
)
"""In the order in which help lists them."""

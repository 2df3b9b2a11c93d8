"""Every setting, with type, unit, default and meaning. Read once per process, from the environment or `.env`."""

import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, NonNegativeFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

GIB = 1024**3

Share = Annotated[float, Field(ge=0, le=1)]

DEFAULT_ADMIN_PASSWORD = "admin123"  # noqa: S105 - published on purpose; refused off loopback

_METRIC_NAMES = (
    "ramp_up_time",
    "bus_factor",
    "performance_claims",
    "license",
    "size_score",
    "dataset_and_code_score",
    "dataset_quality",
    "code_quality",
    "reproducibility",
    "reviewedness",
    "tree_score",
)

_SCAN_POLICY = {"safe": "accept", "suspicious": "flag", "unsafe": "quarantine", "unscanned": "flag"}
_SCAN_ACTIONS = ("accept", "flag", "quarantine", "refuse")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """The settings of a server, a worker or a command. Names in the environment carry the prefix `WEIGHHOUSE_`."""

    # An empty variable is one that was left out: an empty password must not pass for a password of one's own.
    model_config = SettingsConfigDict(
        env_prefix="WEIGHHOUSE_", env_file=".env", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    database_url: str | None = Field(
        None, description="PostgreSQL 15 or newer; the embedded one under DATA_DIR when left out."
    )
    storage_url: str | None = Field(
        None,
        description="Where blobs are kept: file:///path or s3://bucket/prefix; a folder under DATA_DIR when left out.",
    )
    s3_endpoint_url: str | None = Field(
        None,
        validation_alias=AliasChoices("WEIGHHOUSE_S3_ENDPOINT_URL", "S3_ENDPOINT_URL"),
        description="Address of a store with the interface of S3; Amazon's when left out.",
    )
    aws_access_key_id: str | None = Field(
        None,
        validation_alias="AWS_ACCESS_KEY_ID",
        description="Key of the bucket's user; looked for as AWS's tools do.",
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, validation_alias="AWS_SECRET_ACCESS_KEY", description="Secret of that key."
    )
    aws_session_token: SecretStr | None = Field(
        None, validation_alias="AWS_SESSION_TOKEN", description="Token that belongs to a key which ends."
    )
    aws_region: str | None = Field(
        None,
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
        description="Region of the bucket; us-east-1 when it stands nowhere.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    data_dir: Path = Field(Path("data"), description="Folder of the embedded database and of the blobs.")
    workers: PositiveInt = Field(
        default_factory=lambda: min(4, _cores()), description="API processes; by default one a core, at most 4."
    )
    drain_seconds: NonNegativeFloat | None = Field(
        None,
        description="Seconds that a stopping server still takes requests, while /readyz turns load balancers away; "
        "5 behind a proxy, else 0.",
    )
    public_url: str | None = Field(None, description="The address under which clients reach this server.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host names answered to, besides loopback names, the bound address and the host of PUBLIC_URL."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded headers are believed."
    )
    admin_username: str = Field("admin", description="Name of the default admin, who cannot be deleted.")
    admin_password: SecretStr | None = Field(
        None, description="Password of the default admin; given, it also resets theirs at start. Default: admin123."
    )
    token_calls: PositiveInt = Field(1000, description="Calls that one token may make.")
    token_days: PositiveInt = Field(30, description="Days that a token lives.")
    login_attempts: PositiveInt = Field(10, description="Failed logins a minute before an account has to wait.")
    download_url_seconds: PositiveInt = Field(300, description="Seconds that a signed download address lives.")
    evaluation_wait_seconds: NonNegativeFloat = Field(
        30, description="Seconds that an upload waits for its evaluation before it answers 202."
    )
    max_upload_bytes: PositiveInt = Field(64 * GIB, description="Largest upload in bytes.")
    max_unpacked_bytes: PositiveInt = Field(128 * GIB, description="Largest sum of a package's files in bytes.")
    gate_thresholds: Annotated[dict[str, float], NoDecode] = Field(
        default_factory=lambda: dict.fromkeys(_METRIC_NAMES, 0.5),
        description="Lowest score that ingest admits, by metric: license=0.6,…; 0.5 for each not named.",
    )
    gate_min_coverage: Share = Field(0, description="Lowest coverage that ingest admits.")
    gate_refuse_hold: bool = Field(False, description="Whether ingest refuses what could not be judged in full.")
    scan_policy: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=lambda: dict(_SCAN_POLICY),
        description="What becomes of a package by its verdict: safe=accept,suspicious=flag,unsafe=quarantine,unscanned=flag; "
        "accept, flag, quarantine or refuse for each.",
    )
    license_mode: Literal["combine", "derive"] = Field(
        "combine", description="How the license check reads weak copyleft."
    )
    confusion_block: Literal["off", "low", "medium", "high"] = Field(
        "off", description="From which severity on a name that looks like another is refused: off, low, medium or high."
    )
    sandbox: Literal["off", "safe", "all"] = Field(
        "off", description="Whose demonstrations are run in a sandbox: nobody's, of packages found safe, or all."
    )
    sandbox_python: Path = Field(
        Path(sys.executable), description="The Python that demonstrations are run with; its libraries are theirs."
    )
    statement_key: Path | None = Field(
        None,
        description="PEM file of the private key that statements of scores are signed with; one in the database when "
        "left out.",
    )
    signature_trust: Path | None = Field(
        None,
        description="PEM file, or folder of them, with the public keys and certificates whose signatures are trusted.",
    )
    require_signature: bool = Field(False, description="Whether only packages with a trusted signature are taken.")
    allow_reset: bool = Field(True, description="Whether DELETE /reset is allowed at all.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    log_file: Path | None = Field(None, description="File for log lines; standard error when left out.")
    hf_endpoint: str = Field("https://huggingface.co", description="The upstream hub for evidence and ingest.")
    hf_token: SecretStr | None = Field(None, description="Token for the upstream hub.")
    github_api_url: str = Field("https://api.github.com", description="GitHub's REST address; GraphQL is beside it.")
    github_token: SecretStr | None = Field(None, description="Token for GitHub.")

    @field_validator("allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("confusion_block", mode="before")
    @classmethod
    def _severity(cls, value: object) -> object:
        # It was a flag before there were severities.
        flags = {"true": "medium", "1": "medium", "on": "medium", "false": "off", "0": "off"}
        word = str(value).lower()
        return flags.get(word, word)

    @field_validator("gate_thresholds", mode="before")
    @classmethod
    def _thresholds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        thresholds = dict.fromkeys(_METRIC_NAMES, 0.5)
        for part in filter(None, (part.strip() for part in value.split(","))):
            name, _, number = part.partition("=")
            if name.strip() not in thresholds:
                raise ValueError(f"{name.strip()} is not a metric")
            thresholds[name.strip()] = float(number)
        return thresholds

    @field_validator("scan_policy", mode="before")
    @classmethod
    def _policy(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        policy = dict(_SCAN_POLICY)
        for part in filter(None, (part.strip() for part in value.split(","))):
            verdict, _, action = (word.strip() for word in part.partition("="))
            if verdict not in policy:
                raise ValueError(f"{verdict!r} is not a verdict; those are {', '.join(policy)}")
            if action not in _SCAN_ACTIONS:
                raise ValueError(f"{action!r} is not what can become of a package; say {', '.join(_SCAN_ACTIONS)}")
            policy[verdict] = action
        if policy["safe"] in ("quarantine", "refuse"):
            raise ValueError(f"safe={policy['safe']} would let nothing in; say safe=accept")
        return policy

    @field_validator("hf_endpoint", "github_api_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        return value.rstrip("/")

    @field_validator("s3_endpoint_url")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        return None if value is None else cls._web_address(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            ipaddress.ip_network(part, strict=False)
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        level = value.upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return level

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach the server: it listens on loopback, and no proxy passes others on."""
        return _is_loopback(self.host) and not self.is_behind_proxy

    @property
    def is_behind_proxy(self) -> bool:
        """Whether others are passed on to the server, so that a connection from this machine may be anybody's."""
        public_host = urlsplit(self.public_url).hostname if self.public_url else None
        return bool(self.trusted_proxies) or (public_host is not None and not _is_loopback(public_host))

    @property
    def farewell_seconds(self) -> float:
        """How long a server that is told to stop goes on taking requests, so that those in front of it can notice."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return 5.0 if self.is_behind_proxy else 0.0

    @property
    def accepted_hosts(self) -> frozenset[str]:
        """Host names, lower case and without port, that requests may name."""
        hosts = {"localhost", "127.0.0.1", "::1", self.host.lower(), *(host.lower() for host in self.allowed_hosts)}
        if self.public_url and (public := urlsplit(self.public_url).hostname):
            hosts.add(public.lower())
        return frozenset(hosts - {"0.0.0.0", "::"})  # noqa: S104 - the wildcard address is nobody's name

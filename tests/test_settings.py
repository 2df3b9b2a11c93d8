"""What settings make of the environment, where others rely on it."""

import pytest

from weighhouse.doors.cli.configuration import BadSettings, read_settings
from weighhouse.settings import Settings


@pytest.mark.parametrize(
    ("given", "is_private"),
    [
        ({}, True),
        ({"host": "127.0.0.9"}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "::"}, False),
        ({"host": "192.168.1.5"}, False),
        ({"host": "models.example"}, False),
        ({"public_url": "http://localhost:9000"}, True),
        ({"public_url": "https://127.0.0.1"}, True),
        ({"public_url": "https://models.example"}, False),
        ({"trusted_proxies": "127.0.0.1"}, False),
        ({"trusted_proxies": "", "public_url": None}, True),
    ],
)
def test_a_server_is_private_where_only_this_machine_reaches_it(given: dict[str, str], is_private: bool) -> None:
    assert Settings(_env_file=None, **given).is_private is is_private  # type: ignore[arg-type]  # as the environment has them


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 0),
        ({"host": "0.0.0.0"}, 0),
        ({"trusted_proxies": "127.0.0.1"}, 5),
        ({"public_url": "https://models.example"}, 5),
        ({"public_url": "https://models.example", "drain_seconds": "0"}, 0),
        ({"drain_seconds": "2.5"}, 2.5),
    ],
)
def test_a_server_behind_a_proxy_gives_it_time_to_notice_the_end(given: dict[str, str], seconds: float) -> None:
    assert Settings(_env_file=None, **given).farewell_seconds == seconds  # type: ignore[arg-type]  # as the environment has them


def test_a_policy_names_what_differs_from_the_usual() -> None:
    policy = Settings(_env_file=None, scan_policy="suspicious = quarantine, unsafe=refuse").scan_policy
    assert policy == {"safe": "accept", "suspicious": "quarantine", "unsafe": "refuse", "unscanned": "flag"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("dangerous=refuse", "'dangerous' is not a verdict; those are safe, suspicious, unsafe, unscanned"),
        ("unsafe=ignore", "'ignore' is not what can become of a package; say accept, flag, quarantine, refuse"),
        ("unsafe", "'' is not what can become of a package"),
        ("safe=refuse", "safe=refuse would let nothing in"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_at_the_start(
    given: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHHOUSE_SCAN_POLICY", given)
    with pytest.raises(BadSettings, match="WEIGHHOUSE_SCAN_POLICY") as refused:
        read_settings()
    assert why in str(refused.value)

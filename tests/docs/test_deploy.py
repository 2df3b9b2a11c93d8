"""What `deploy/` holds is true: it parses, names settings that there are, allows what is needed, and nginx runs it."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import eventually, start_server, stop_server
from tests.doors.rest import publish
from tests.nginx import free_port, needs_nginx, nginx
from weighhouse.doors.cli.main import tree
from weighhouse.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "weighhouse"

# What S3 asks for each operation that the store makes (AWS: actions, resources and condition keys for S3).
_ACTIONS = {
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "complete_multipart_upload": {"s3:PutObject"},
    "copy_object": {"s3:GetObject", "s3:PutObject"},
    "create_multipart_upload": {"s3:PutObject"},
    "delete_object": {"s3:DeleteObject"},
    "delete_objects": {"s3:DeleteObject"},
    "get_object": {"s3:GetObject"},
    # A key that is not there is told from one that is forbidden only to who may list.
    "head_object": {"s3:GetObject", "s3:ListBucket"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "list_objects_v2": {"s3:ListBucket"},
    "list_parts": {"s3:ListMultipartUploadParts"},
    "put_object": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
    "upload_part_copy": {"s3:GetObject", "s3:PutObject"},
}


def known_variables() -> set[str]:
    """Every variable that a setting is read from."""
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = getattr(alias, "choices", [alias] if alias else [f"WEIGHHOUSE_{name.upper()}"])
        names |= {str(choice) for choice in choices}
    return names


@pytest.mark.parametrize(
    "path",
    sorted(
        path.relative_to(ROOT).as_posix() for path in [*DEPLOY.rglob("*"), ROOT / "docs/deploy.md"] if path.is_file()
    ),
)
def test_every_variable_that_is_named_is_a_setting(path: str) -> None:
    named = set(re.findall(r"\b(?:WEIGHHOUSE|AWS)_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / path).read_text()))
    assert named <= known_variables()


def test_the_guide_names_every_file() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    for path in DEPLOY.rglob("*"):
        if path.is_file() and CHART not in path.parents:
            assert path.name in guide, path


# Containers


def test_every_service_of_the_composition_is_whole() -> None:
    composition = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = composition["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, name
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in composition["volumes"], name
        if service["image"].startswith("weighhouse") and "entrypoint" not in service:
            assert service.get("command", ["serve"])[0] in tree.commands, name
            assert service["read_only"], name
    assert (DEPLOY / services["one"]["build"]["dockerfile"]).name == "Containerfile"
    # Longer than a server takes at most: draining, then requests, then its worker.
    assert int(services["one"]["stop_grace_period"].removesuffix("s")) >= 5 + 35 + 30


def test_the_image_copies_what_is_there_and_runs_as_an_ordinary_user() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    for names in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in names.split())
    assert re.findall(r"^USER (\d+)$", text, re.MULTILINE) == ["10001"]


# Kubernetes


class Chart:
    """The chart with its values filled in: as much of Helm's language as its templates use, and no more."""

    def __init__(self, release: str = "weighhouse") -> None:
        self._scope: Mapping[str, Any] = {
            "Values": yaml.safe_load((CHART / "values.yaml").read_text()),
            "Release": {"Name": release, "Revision": 3},
        }

    def objects(self) -> Iterator[dict[str, Any]]:
        """What Kubernetes would be given."""
        for path in sorted((CHART / "templates").glob("*.yaml")):
            text = self._ranged(path.read_text())
            text = re.sub(r"\n *\{\{- toYaml (\S+) \| nindent (\d+) \}\}", self._block, text)
            text = re.sub(r"\{\{ (\S+?)( \| quote)? \}\}", self._value, text)
            assert "{{" not in text, path.name
            yield from yaml.safe_load_all(text)

    def _look_up(self, name: str) -> Any:
        found: Any = self._scope
        for part in name.removeprefix(".").split("."):
            found = found[part]
        return found

    def _ranged(self, text: str) -> str:
        def repeat(match: re.Match[str]) -> str:
            items = self._look_up(match[1]).items()
            return "".join(
                match[2].replace("{{ $name }}", name).replace("{{ $value | quote }}", json.dumps(str(value)))
                for name, value in items
            )

        pattern = r"\n *\{\{- range \$name, \$value := (\S+) \}\}(.*?)\n *\{\{- end \}\}"
        return re.sub(pattern, repeat, text, flags=re.DOTALL)

    def _block(self, match: re.Match[str]) -> str:
        lines = yaml.safe_dump(self._look_up(match[1])).splitlines()
        return "".join(f"\n{' ' * int(match[2])}{line}" for line in lines)

    def _value(self, match: re.Match[str]) -> str:
        value = str(self._look_up(match[1]))
        return json.dumps(value) if match[2] else value


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    """What the chart makes, by kind and name."""
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in Chart().objects()}


def pods(objects: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, one in objects.items():
        if "template" in one["spec"] if "spec" in one else False:
            yield name, one["spec"]["template"]["spec"]


def test_the_chart_makes_what_a_registry_needs(objects: Mapping[str, dict[str, Any]]) -> None:
    assert set(objects) == {
        "ConfigMap/weighhouse-settings",
        "Deployment/weighhouse-server",
        "Deployment/weighhouse-worker",
        "Ingress/weighhouse",
        "Job/weighhouse-migrate-3",
        "PodDisruptionBudget/weighhouse-server",
        "Service/weighhouse",
    }
    assert set(objects["ConfigMap/weighhouse-settings"]["data"]) <= known_variables()
    assert all(isinstance(value, str) for value in objects["ConfigMap/weighhouse-settings"]["data"].values())
    labels = objects["Deployment/weighhouse-server"]["spec"]["template"]["metadata"]["labels"]
    for one in ("Service/weighhouse", "PodDisruptionBudget/weighhouse-server"):
        selector = objects[one]["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()


def test_its_pods_may_do_nothing_that_they_need_not(objects: Mapping[str, dict[str, Any]]) -> None:
    found = dict(pods(objects))
    assert len(found) == 3
    for name, pod in found.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        (container,) = pod["containers"]
        assert container["args"][0] in tree.commands, name
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name


def test_its_probes_ask_what_there_is_and_it_waits_for_the_end(objects: Mapping[str, dict[str, Any]]) -> None:
    (container,) = objects["Deployment/weighhouse-server"]["spec"]["template"]["spec"]["containers"]
    asked = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    drain = float(objects["ConfigMap/weighhouse-settings"]["data"]["WEIGHHOUSE_DRAIN_SECONDS"])
    probe = container["readinessProbe"]
    assert drain >= probe["periodSeconds"] * probe["failureThreshold"]
    pod = objects["Deployment/weighhouse-server"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= drain + 35 + 30


# The bucket


def test_the_policy_allows_what_the_store_does_and_no_more() -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "src/weighhouse/store").glob("*s3*.py")))
    used = {name for name in _ACTIONS if re.search(rf"\.{name}\(|\"{name}\"", source)}
    assert {"put_object", "get_object", "upload_part_copy"} <= used
    # An operation that this table does not have would go unseen.
    assert set(re.findall(r"\bs3\.([a-z0-9_]+)\(", source)) <= set(_ACTIONS)
    policy = json.loads((DEPLOY / "aws" / "bucket-policy.json").read_text())
    allowed = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert sorted(allowed) == sorted(set().union(*(_ACTIONS[name] for name in used)))


# nginx


@needs_nginx
def test_the_nginx_example_passes_uploads_and_downloads_on(tmp_path: Path) -> None:
    port = free_port()
    address = f"https://localhost:{port}"
    server = start_server(
        tmp_path / "data",
        WEIGHHOUSE_PUBLIC_URL=address,
        WEIGHHOUSE_TRUSTED_PROXIES="127.0.0.1",
        WEIGHHOUSE_WORKERS="1",
        WEIGHHOUSE_DRAIN_SECONDS="0",
    )
    try:
        # A second one that nobody started: what would go there goes to the first.
        upstream = [f"127.0.0.1:{free_port()}", server.url.removeprefix("http://")]
        headers = {"X-Authorization": server.admin_token}
        with (
            nginx(tmp_path / "nginx", port, upstream) as url,
            httpx.Client(base_url=url, headers=headers, verify=False, timeout=60) as client,
        ):
            for _ in range(5):
                assert client.get("/packages").status_code == 200
            # More than nginx takes by default, and more than it keeps in memory.
            content = os.urandom(5 * 1024 * 1024)
            package_id = publish(client, files={"README.md": "# Through nginx", "model.bin": content})
            offer = client.get(f"/package/{package_id}", headers={"X-Forwarded-For": "203.0.113.7"}).json()
            assert offer["download_url"].startswith(address)
            assert content in client.get(offer["download_url"]).content
            part = client.get(offer["download_url"], headers={"Range": "bytes=100-199"})
            assert (part.status_code, len(part.content)) == (206, 100)
            # The client's own address, and not the one that it claims.
            history = client.get(f"/package/{package_id}/download-history").json()
            assert "203.0.113.7" not in json.dumps(history)
            for path in ("/readyz", "/metrics"):
                assert client.get(path).status_code == 404
            eventually(lambda: client.get("/health").json()["status"] == "healthy")
    finally:
        stop_server(server)

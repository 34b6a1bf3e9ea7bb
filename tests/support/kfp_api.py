"""A Kubeflow Pipelines server of the tests' own: the v2beta1 endpoints in use here, over real HTTP, in memory.

It keeps what it is sent and looks at it as the real one does: a pipeline is parsed with kfp-pipeline-spec and with
kfp-kubernetes' own messages, bodies with kfp_server_api's models; parameters must be the pipeline's; a cron expression
must have six fields. Written from kfp_server_api 2.17.3 and the server's source. Nothing runs here: a test says how a
run gets on (`play`), and when a schedule's time has come (`tick`).
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import kfp_server_api
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes_pb
from kfp.pipeline_spec import pipeline_spec_pb2

Action = int | Literal["hang", "drop", "lose", "html"]
"""What to do wrong, once: answer with this status, never answer, close the connection, do what is asked and then close
the connection, answer with a login page."""

CRON_FIELD = re.compile(r"^(\?|\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/\d+)?(,(\?|\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/\d+)?)*$")
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}
NO_TIME = "1970-01-01T00:00:00Z"


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class Api:
    """What the server holds. All ids are of its own making; times go up by a second with every thing that is made."""

    def __init__(self) -> None:
        self.multi_user = False
        self.version = "2.17.0"
        """What it says of itself; it refuses what that version would."""
        self.store: Literal["database", "kubernetes"] = "database"
        """Where it keeps pipelines: names of Kubernetes objects are of few letters."""
        self.token: str | None = None
        self.cookie: str | None = None
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, str] = {}
        """The uploaded YAML, by version id."""
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring_runs: dict[str, dict[str, Any]] = {}
        self.logs: dict[tuple[str, str], str] = {}
        """By run and pod."""
        self.asked: list[tuple[str, str]] = []
        """Method and path of every request, those that failed too."""
        self.address = ""
        self.released = threading.Event()
        self._frames: dict[str, list[dict[str, Any]]] = {}
        self._faults: list[tuple[str, str, Action]] = []
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    # ---------------------------------------------------------------- what a test says

    def fault(self, method: str, path: str, action: Action, times: int = 1) -> None:
        """Do this wrong, the next times this is asked for of a path that has this in it."""
        self._faults += [(method, path, action)] * times

    def play(self, run: str, *frames: dict[str, Any]) -> None:
        """How a run gets on: every look at it takes the next of these; the last one stays."""
        self._frames[run] = list(frames)

    def tick(self, recurring_run: str, state: str = "SUCCEEDED", **more: Any) -> str | None:
        """A schedule's time has come. Returns the run; None where it is disabled."""
        job = self.recurring_runs[recurring_run]
        if job["status"] != "ENABLED":
            return None
        body = {
            key: job[key] for key in ("experiment_id", "pipeline_version_reference", "runtime_config") if key in job
        }
        run = self.create_run({**body, "display_name": f"Run of {job['display_name']}"})
        self.runs[run["run_id"]] |= {
            "recurring_run_id": recurring_run,
            "state": state,
            "finished_at": self._now(),
            **more,
        }
        return str(run["run_id"])

    def count(self, method: str, ending: str) -> int:
        return sum(one == method and path.endswith(ending) for one, path in self.asked)

    # ---------------------------------------------------------------- what it does

    def create_pipeline(self, body: dict[str, Any]) -> dict[str, Any]:
        self._namespace(body.get("namespace"))
        name = body.get("name") or body.get("display_name")
        if not name:
            raise Refused(400, "pipeline name cannot be empty")
        self._name(name, "Pipeline", 128)
        if any(one["name"] == name for one in self.pipelines.values()):
            raise Refused(409, f"Failed to create a pipeline: already exist pipeline with the name {name}")
        made = {**body, "name": name, "display_name": body.get("display_name") or name, "pipeline_id": self._id()}
        self.pipelines[made["pipeline_id"]] = made | {"created_at": self._now()}
        return self.pipelines[made["pipeline_id"]]

    def pipeline_named(self, name: str, namespace: str | None) -> dict[str, Any]:
        self._namespace(namespace)
        for one in self.pipelines.values():
            if one["name"] == name and one.get("namespace") == namespace:
                return one
        raise Refused(404, f"pipeline {name} not found")

    def create_version(self, query: dict[str, str], text: str) -> dict[str, Any]:
        pipeline = self._of(self.pipelines, query.get("pipelineid", ""), "pipeline")["pipeline_id"]
        name = query.get("name") or "unnamed"
        self._name(name, "PipelineVersion", 127)
        if any(one["pipeline_id"] == pipeline and one["name"] == name for one in self.versions.values()):
            raise Refused(409, f"Failed to create a pipeline version: already exist version with the name {name}")
        spec = parsed(text)
        if self._age < (2, 15, 2) or (self._age < (2, 17, 0) and "literals:" in text):
            raise Refused(400, 'Failed to parse the pipeline spec: unknown field "literals"')
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": self._id(),
            "name": name,
            "display_name": query.get("display_name") or name,
            "description": query.get("description", ""),
            "created_at": self._now(),
            "pipeline_spec": spec,
        }
        self.versions[made["pipeline_version_id"]] = made
        self.texts[made["pipeline_version_id"]] = text
        return made

    def create_experiment(self, body: dict[str, Any]) -> dict[str, Any]:
        self._namespace(body.get("namespace"))
        if not body.get("display_name"):
            raise Refused(400, "experiment's name cannot be empty")
        if len(body["display_name"].encode()) > 128:
            raise Refused(400, "Experiment.Name length cannot exceed 128")
        if any(one["display_name"] == body["display_name"] for one in self.experiments.values()):
            raise Refused(409, f"Failed to create experiment {body['display_name']}: already exists")
        made = {**body, "experiment_id": self._id(), "created_at": self._now(), "storage_state": "AVAILABLE"}
        self.experiments[made["experiment_id"]] = made
        return made

    def create_run(self, body: dict[str, Any]) -> dict[str, Any]:
        self._of(self.experiments, body.get("experiment_id", ""), "experiment")
        version = self._version(body.get("pipeline_version_reference"))
        self._parameters(version, body)
        made = {
            **body,
            "run_id": self._id(),
            "pipeline_version_reference": {
                "pipeline_id": version["pipeline_id"],
                "pipeline_version_id": version["pipeline_version_id"],
            },
            "state": "PENDING",
            "storage_state": "AVAILABLE",
            "service_account": body.get("service_account") or "pipeline-runner",
            "created_at": self._now(),
            "finished_at": NO_TIME,
        }
        self.runs[made["run_id"]] = made
        return made

    def run(self, key: str) -> dict[str, Any]:
        found = self._of(self.runs, key, "run")
        frames = self._frames.get(key)
        if frames:
            found.update(frames.pop(0) if len(frames) > 1 else frames[0])
        return found

    def terminate(self, key: str) -> dict[str, Any]:
        self._of(self.runs, key, "run")["state"] = "CANCELING"
        return {}

    def create_recurring_run(self, body: dict[str, Any]) -> dict[str, Any]:
        self._of(self.experiments, body.get("experiment_id", ""), "experiment")
        version = self._version(body.get("pipeline_version_reference"))
        self._parameters(version, body)
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise Refused(400, "The max concurrency of the recurring run must be within [1, 10]")
        cron = body.get("trigger", {}).get("cron_schedule", {}).get("cron", "")
        fields = cron.split()
        if len(fields) not in (5, 6) or not all(CRON_FIELD.match(field) for field in fields):
            raise Refused(400, f"Schedule cron is not a supported format: {cron!r}")
        if body.get("mode") not in ("ENABLE", "DISABLE"):
            raise Refused(400, "mode must be ENABLE or DISABLE")
        made = {
            **body,
            "recurring_run_id": self._id(),
            "status": "ENABLED" if body["mode"] == "ENABLE" else "DISABLED",
            "service_account": body.get("service_account") or "pipeline-runner",
            "max_concurrency": str(body["max_concurrency"]),
            "created_at": self._now(),
            "updated_at": self._now(),
        }
        self.recurring_runs[made["recurring_run_id"]] = made
        return made

    def set_enabled(self, key: str, enabled: bool) -> dict[str, Any]:
        job = self._of(self.recurring_runs, key, "recurring run")
        job |= {"status": "ENABLED" if enabled else "DISABLED", "mode": "ENABLE" if enabled else "DISABLE"}
        return {}

    def delete_recurring_run(self, key: str) -> dict[str, Any]:
        self._of(self.recurring_runs, key, "recurring run")
        del self.recurring_runs[key]
        return {}

    def log(self, run: str, pod: str) -> str:
        self._of(self.runs, run, "run")
        if (run, pod) not in self.logs:
            raise Refused(400, f"Failed to read logs for run {run}")
        return self.logs[run, pod]

    def page(self, things: list[dict[str, Any]], field: str, query: dict[str, str]) -> dict[str, Any]:
        for wanted in json.loads(query.get("filter") or "{}").get("predicates", []):
            if wanted["operation"] not in ("EQUALS", 1):
                raise Refused(400, f"filter operation {wanted['operation']} is not known here")
            value = wanted.get("string_value", wanted.get("stringValue"))
            things = [one for one in things if one.get(wanted["key"]) == value]
        if query.get("sort_by"):
            key, _, order = query["sort_by"].partition(" ")
            things = sorted(things, key=lambda one: one[key], reverse=order == "desc")
        first, size = int(query.get("page_token") or 0), int(query.get("page_size") or 20)
        answer: dict[str, Any] = {field: things[first : first + size], "total_size": len(things)}
        if first + size < len(things):
            answer["next_page_token"] = str(first + size)
        return answer

    # ---------------------------------------------------------------- what it looks at

    def _namespace(self, namespace: str | None) -> None:
        if self.multi_user and not namespace:
            raise Refused(400, "Namespace is empty: in multi-user mode it must be given")
        if not self.multi_user and namespace:
            raise Refused(400, "In single-user mode, the namespace must be empty")

    def _name(self, name: str, kind: str, longest: int) -> None:
        if len(name.encode()) > longest:
            raise Refused(400, f"{kind}.Name length cannot exceed {longest}")
        if self.store == "kubernetes" and not re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", name):
            raise Refused(400, f"{kind}.pipelines.kubeflow.org {name!r} is invalid: a lowercase RFC 1123 subdomain")

    def _version(self, reference: dict[str, Any] | None) -> dict[str, Any]:
        found = self._found_version(reference)
        if self._age < (2, 17, 0) and "securityContext" in self.texts[found["pipeline_version_id"]]:
            raise Refused(400, 'failed to unmarshal kubernetes spec: unknown field "securityContext"')
        return found

    def _found_version(self, reference: dict[str, Any] | None) -> dict[str, Any]:
        if not reference or not reference.get("pipeline_id"):
            raise Refused(400, "a pipeline is required")
        self._of(self.pipelines, reference["pipeline_id"], "pipeline")
        if reference.get("pipeline_version_id"):
            return self._of(self.versions, reference["pipeline_version_id"], "pipeline version")
        own = [one for one in self.versions.values() if one["pipeline_id"] == reference["pipeline_id"]]
        if not own:
            raise Refused(404, "the pipeline has no version")
        return max(own, key=lambda one: one["created_at"])

    def _parameters(self, version: dict[str, Any], body: dict[str, Any]) -> None:
        spec = version["pipeline_spec"].get("pipeline_spec", version["pipeline_spec"])
        known = spec["root"]["inputDefinitions"]["parameters"]
        given = (body.get("runtime_config") or {}).get("parameters") or {}
        kinds = {"STRING": str, "BOOLEAN": bool, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": (int, float)}
        for name, value in given.items():
            if name not in known:
                raise Refused(400, f"parameter {name} is not an input of the pipeline")
            if not isinstance(value, kinds[known[name]["parameterType"]]):
                raise Refused(400, f"parameter {name} has the wrong type")
            if known[name].get("literals") and value not in known[name]["literals"]:
                raise Refused(400, f"parameter {name} is none of its literals")
        missing = [
            n for n, one in known.items() if n not in given and "defaultValue" not in one and not one.get("isOptional")
        ]
        if missing:
            raise Refused(400, f"missing parameters: {missing}")

    @staticmethod
    def _of(held: dict[str, dict[str, Any]], key: str, what: str) -> dict[str, Any]:
        if key not in held:
            raise Refused(404, f"{what} {key} not found")
        return held[key]

    @property
    def _age(self) -> tuple[int, ...]:
        return tuple(int(number) for number in self.version.split("."))

    def _id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._ids):012d}"

    def _now(self) -> str:
        return f"{datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=next(self._ids)):%Y-%m-%dT%H:%M:%SZ}"

    def fault_of(self, method: str, path: str) -> Action | None:
        with self._lock:
            self.asked.append((method, path))
            for index, (wanted, part, action) in enumerate(self._faults):
                if wanted == method and part in path:
                    del self._faults[index]
                    return action
        return None


def parsed(text: str) -> dict[str, Any]:
    """A pipeline as the server would take it in. Errors: Refused."""
    try:
        spec, *more = yaml.safe_load_all(text)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        for platform in more:
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
            for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
                json_format.ParseDict(executor, kubernetes_pb.KubernetesExecutorConfig())
    except (yaml.YAMLError, json_format.ParseError, ValueError, KeyError) as error:
        raise Refused(400, f"the pipeline spec is invalid: {error}") from None
    return {"pipeline_spec": spec, "platform_spec": more[0]} if more else dict(spec)


@contextmanager
def serving(api: Api) -> Iterator[str]:
    """Serve on a free port. Gives the address."""
    handler = type("ApiHandler", (Handler,), {"api": api})
    server = Server(("127.0.0.1", 0), handler)
    api.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield api.address
    finally:
        api.released.set()
        server.shutdown()
        server.server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the play."""


Route = tuple[str, str, Callable[..., Any]]


class Handler(BaseHTTPRequestHandler):
    api: Api
    protocol_version = "HTTP/1.1"
    loses = False
    disable_nagle_algorithm = True  # an answer is two writes, which would wait 40 ms for each other

    def do_GET(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def do_DELETE(self) -> None:
        self._do()

    def _routes(self) -> list[Route]:
        api, query = self.api, self.query
        listed = {
            "experiments": api.experiments,
            "pipelines": api.pipelines,
            "recurringruns": api.recurring_runs,
            "runs": api.runs,
        }
        names = {"recurringruns": "recurringRuns"}

        def lists(kind: str) -> Any:
            if kind != "pipelines" and not query.get("experiment_id"):
                api._namespace(query.get("namespace"))
            wanted = query.get("experiment_id")
            things = [one for one in listed[kind].values() if wanted in (None, one.get("experiment_id"))]
            return api.page(things, names.get(kind, kind), query)

        def versions(pipeline: str) -> Any:
            own = [one for one in api.versions.values() if one["pipeline_id"] == pipeline]
            return api.page(own, "pipeline_versions", query)

        return [
            ("GET", r"healthz", lambda: {"multi_user": api.multi_user, "pipeline_store": api.store}),
            ("POST", r"pipelines", lambda: api.create_pipeline(self.body("V2beta1Pipeline"))),
            ("POST", r"pipelines/upload_version", lambda: api.create_version(query, self.upload())),
            ("GET", r"pipelines/names/([^/]+)", lambda name: api.pipeline_named(name, query.get("namespace"))),
            ("GET", r"pipelines/([^/]+)/versions", versions),
            ("POST", r"experiments", lambda: api.create_experiment(self.body("V2beta1Experiment"))),
            ("POST", r"runs", lambda: api.create_run(self.body("V2beta1Run"))),
            ("GET", r"runs/([^/:]+)", api.run),
            ("POST", r"runs/([^/:]+):terminate", api.terminate),
            ("POST", r"recurringruns", lambda: api.create_recurring_run(self.body("V2beta1RecurringRun"))),
            ("GET", r"recurringruns/([^/:]+)", lambda key: api._of(api.recurring_runs, key, "recurring run")),
            ("DELETE", r"recurringruns/([^/:]+)", api.delete_recurring_run),
            ("POST", r"recurringruns/([^/:]+):enable", lambda key: api.set_enabled(key, True)),
            ("POST", r"recurringruns/([^/:]+):disable", lambda key: api.set_enabled(key, False)),
            ("GET", r"(experiments|pipelines|recurringruns|runs)", lists),
        ]

    def _do(self) -> None:
        address = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(address.query).items()}
        self.raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        action = self.api.fault_of(self.command, address.path)
        if action == "hang":
            self.api.released.wait(30)
            self.close_connection = True
        elif action == "drop":
            self.hang_up()
        elif action == "html":
            self.send(200, b"<html>Please log in</html>", "text/html")
        elif isinstance(action, int):
            self.refuse(action, "an error on order")
        else:
            self.loses = action == "lose"
            try:
                with self.api._lock:
                    self._answer(unquote(address.path))
            except Refused as refused:
                self.refuse(refused.status, refused.message)

    def _answer(self, path: str) -> None:
        if self.api.token is not None and self.headers.get("authorization") != f"Bearer {self.api.token}":
            raise Refused(401, "Request header error: there is no user identity header.")
        if self.api.cookie is not None and self.headers.get("Cookie") != self.api.cookie:
            raise Refused(401, "Request header error: there is no user identity header.")
        if path == "/apis/v1beta1/healthz":
            said = {"commit_sha": "0", "tag_name": self.api.version, "multi_user": self.api.multi_user}
            self.send(200, json.dumps(said).encode(), "application/json")
            return
        log = re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path)
        if log:
            self.send(200, self.api.log(log[1], log[2]).encode(), "text/plain")
            return
        for method, pattern, work in self._routes():
            found = re.fullmatch(f"/apis/v2beta1/{pattern}", path)
            if found and method == self.command:
                self.send(200, json.dumps(work(*found.groups())).encode(), "application/json")
                return
        raise Refused(404, "Not Found")

    def body(self, model: str) -> dict[str, Any]:
        """What was sent, if the model of that name has all of its keys."""
        value = json.loads(self.raw)
        unknown = set(value) - set(getattr(kfp_server_api, model).openapi_types)
        if unknown:
            raise Refused(400, f"unknown fields: {sorted(unknown)}")
        return dict(value)

    def upload(self) -> str:
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        part = self.raw.split(b"--" + boundary)[1]
        about, _, content = part.partition(b"\r\n\r\n")
        if not re.search(rb'name="uploadfile"; filename="[^"]+\.ya?ml"', about):
            raise Refused(400, "Unexpected file format")
        return content.removesuffix(b"\r\n").decode()

    def refuse(self, status: int, message: str) -> None:
        answer = {"error": message, "code": CODES.get(status, 2), "message": message, "details": []}
        self.send(status, json.dumps(answer).encode(), "application/json")

    def send(self, status: int, content: bytes, kind: str) -> None:
        if self.loses:
            self.hang_up()
            return
        with suppress(OSError):
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{self.api.address}/login")
            for header, value in {"Content-Type": kind, "Content-Length": str(len(content))}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(content)

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass

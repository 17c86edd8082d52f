"""A running control plane: etcd, kube-apiserver and kube-controller-manager on this machine, for one test run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controlplane import commands, credentials, etcd
from controlplane.build import Programs, ensure_programs
from controlplane.client import Answer, Client
from controlplane.commands import Layout
from controlplane.errors import ControlPlaneError
from controlplane.kubectl import clean_environment, run_kubectl
from controlplane.ports import LOOPBACK
from controlplane.processes import Processes
from controlplane.supervisor import Supervisor
from controlplane.waiting import wait_for

API_SERVER, ETCD, CONTROLLER_MANAGER = "kube-apiserver", "etcd", "kube-controller-manager"


class ControlPlane:
    """
    A control plane of our own; made by `ControlPlane.start`, ended by `stop` or by leaving the `with` block.

    `supervisor` may run further programs: they end with the control plane.
    """

    def __init__(self, directory: Path, programs: Programs, *, keep: bool, api_server_flags: Sequence[str]) -> None:
        self.directory = directory
        self.programs = programs
        self.supervisor = Supervisor()
        self._layout = Layout(directory)
        self._keep = keep
        self._api_server_flags = tuple(api_server_flags)
        self._processes = Processes(self.supervisor, self._layout)
        self._tokens: dict[str, str] = {}
        self._port = 0
        self._etcd_port = 0

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        controllers: bool = True,
        crds: Sequence[Path] = (),
        keep: bool = False,
        api_server_flags: Sequence[str] = (),
    ) -> ControlPlane:
        """
        Start a control plane in a new or empty directory, and return when it serves.

        `crds` are installed before the controllers start: the garbage collector looks for new kinds every 30 s only.
        `keep` leaves the directory behind; otherwise `stop` removes it, and so does the death of this process.
        Errors: `ProcessError` with the end of the log of the program that did not start.
        """
        directory = directory.absolute()
        if directory.exists() and any(directory.iterdir()):
            raise ControlPlaneError(f"{directory} is not empty, and stop() would remove it: give a new directory")
        programs = ensure_programs()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        plane = cls(directory, programs, keep=keep, api_server_flags=api_server_flags)
        try:
            plane._start(controllers=controllers, crds=crds)
        except Exception:
            plane.supervisor.stop()  # the directory stays: the error names the logs in it
            raise
        except BaseException:
            plane.stop()
            raise
        return plane

    def stop(self) -> None:
        """Kill the programs and remove the directory, unless it is to be kept; a second call does nothing."""
        self.supervisor.stop()
        if not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        """The API server's port on the loopback interface."""
        return self._port

    @property
    def ca_file(self) -> Path:
        """The certificate authority that vouches for the API server."""
        return self._layout.ca_file

    @property
    def key_file(self) -> Path:
        """The key of the API server's certificate, for a proxy that stands in its place."""
        return self._layout.key_file

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self._layout.kubeconfig(credentials.ADMIN)

    @property
    def audit_log(self) -> Path:
        """What the API server was asked; `controlplane.audit` reads it."""
        return self._layout.audit_log

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each running program, and of the supervisor."""
        return {**self._processes.pids, "supervisor": self.supervisor.pid}

    def kubeconfig_for_user(self, name: str) -> Path:
        """Return the kubeconfig of a test identity; what it may do is for RBAC to say."""
        if name not in self._tokens:
            raise ControlPlaneError(f"there is no test identity {name}: take one of {', '.join(self._tokens)}")
        return self._write_kubeconfig(name, {"token": self._tokens[name]})

    def kubeconfig_for_service_account(
        self, namespace: str, name: str, *, expiration_seconds: int = 3600, pod: str | None = None
    ) -> Path:
        """
        Return a kubeconfig with a real token of a ServiceAccount, in a file of its own beside it.

        A second call rotates the token: the file is replaced, the kubeconfig stays the same. `pod` binds the token to a
        Pod of the account, as the kubelet does.
        Errors: `ApiError` 404 when the account does not exist, 422 when it is asked for less than 600 s.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.request("POST", path, credentials.token_request(expiration_seconds, pod))
        identity = f"{namespace}.{name}" if pod is None else f"{namespace}.{name}.{pod}"
        file = credentials.write_secret(self._layout.kubeconfigs / f"{identity}.token", answer["status"]["token"])
        return self._write_kubeconfig(identity, {"tokenFile": str(file)}, namespace)

    def kubeconfig_through(self, port: int, base: Path) -> Path:
        """Return a copy of a kubeconfig that goes through another port, such as a `Cutter`'s; TLS still verifies."""
        copy = self._layout.kubeconfigs / f"{base.stem}.through-{port}.yaml"
        return credentials.with_server(base, f"https://{LOOPBACK}:{port}", copy)

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        kubeconfig: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the admin, or as another kubeconfig says; see `run_kubectl` for what it raises."""
        return run_kubectl(
            self.programs.kubectl,
            kubeconfig or self.kubeconfig,
            *arguments,
            stdin=input,
            env=clean_environment(self.directory),
            check=check,
        )

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send a JSON request as the admin and return the JSON of the answer; `ApiError` for 400 and more."""
        return self._admin().request(method, path, body, content_type)

    def fetch(self, method: str, path: str) -> Answer:
        """Send a request as the admin and return status and text, whatever they are."""
        return self._admin().fetch(method, path)

    def metrics(self) -> str:
        """Return the API server's own metrics, as Prometheus text."""
        return self.fetch("GET", "/metrics").text

    def compact(self) -> int:
        """
        Make etcd forget all history before now, and return the revision it kept.

        A running API server goes on answering old watches from its own memory; a new one cannot. So for a watch that
        must meet 410 Gone: kill_api_server(), compact(), start_api_server().
        """
        return etcd.compact(self._etcd_port)

    def kill_api_server(self) -> None:
        """Kill the API server with SIGKILL."""
        self._processes.kill(API_SERVER)

    def start_api_server(self) -> None:
        """Start the API server again, with the same port and data, and return when it serves."""
        program, extra = self.programs.kube_apiserver, self._api_server_flags
        argv = commands.api_server(program, self._layout, self._port, self._etcd_port, extra)
        self._processes.start(API_SERVER, argv, is_ready=self._serves)

    def kill_etcd(self) -> None:
        """Kill etcd with SIGKILL."""
        self._processes.kill(ETCD)

    def start_etcd(self) -> None:
        """Start etcd again, with the same port and data, and return when it answers."""
        argv = commands.etcd(self.programs.etcd, self._layout, self._etcd_port)
        self._processes.start(ETCD, argv, is_ready=lambda: etcd.is_healthy(self._etcd_port))

    def signal_etcd(self, number: int) -> None:
        """Send etcd a signal: SIGSTOP freezes it, SIGCONT lets it go on."""
        self._processes.signal(ETCD, number)

    def _start(self, *, controllers: bool, crds: Sequence[Path]) -> None:
        if not self._keep:
            self.supervisor.when_orphaned("rm", "-rf", "--", str(self.directory))
        self._layout.audit_policy.write_text(commands.AUDIT_POLICY)
        credentials.write_signing_key(self._layout.signing_key)
        self._tokens = credentials.write_user_tokens(self._layout.user_tokens)
        self._processes.start_on_free_port(ETCD, self._start_etcd_on)
        self._processes.start_on_free_port(API_SERVER, self._start_api_server_on)
        self.kubeconfig_for_user(credentials.ADMIN)
        self._install(crds)
        if controllers:
            self._start_controllers()

    def _start_etcd_on(self, port: int) -> None:
        self._etcd_port = port
        self.start_etcd()

    def _start_api_server_on(self, port: int) -> None:
        self._port = port
        self.start_api_server()

    def _start_controllers(self) -> None:
        kubeconfig = self.kubeconfig_for_user("system:kube-controller-manager")
        program = self.programs.kube_controller_manager
        argv = commands.controller_manager(program, self._layout, kubeconfig)
        self._processes.start(CONTROLLER_MANAGER, argv, is_ready=self._has_default_account)

    def _serves(self) -> bool:
        """Tell whether the API server is ready; its certificate exists only a moment after its start."""
        try:
            return self.ca_file.exists() and self.fetch("GET", "/readyz").text == "ok"
        except OSError:
            return False

    def _has_default_account(self) -> bool:
        """Tell whether the controllers work: this account is the first thing that they make."""
        return self.fetch("GET", "/api/v1/namespaces/default/serviceaccounts/default").status == 200

    def _install(self, crds: Sequence[Path]) -> None:
        if not crds:
            return
        self.kubectl("apply", "--server-side", *(f"--filename={path}" for path in crds))
        # Not `kubectl wait`: it fails on a CRD that has no conditions yet.
        wait_for(self._are_crds_established, what="the CRDs to be established")
        # kubectl keeps what it knew of the server's kinds before, and looks there for short names.
        self.kubectl("api-resources", "--output=name")

    def _are_crds_established(self) -> bool:
        crds = self.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
        established = {"type": "Established", "status": "True"}
        return all(
            any(established.items() <= condition.items() for condition in crd.get("status", {}).get("conditions") or ())
            for crd in crds
        )

    def _admin(self) -> Client:
        return Client(self.url, self.ca_file, self._tokens[credentials.ADMIN])

    def _write_kubeconfig(self, name: str, credential: dict[str, str], namespace: str = "default") -> Path:
        cluster = credentials.Cluster(self.url, self.ca_file)
        return credentials.write_kubeconfig(self._layout.kubeconfig(name), cluster, name, credential, namespace)

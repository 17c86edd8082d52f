"""The command line of each program of the control plane, and the audit policy that one of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.ports import LOOPBACK

CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "endpointslice-controller",
    "clusterrole-aggregation-controller",  # without it view, edit and admin allow nothing
)

AUDIT_POLICY = """\
# One line for each request: a watch when it is opened, everything else when it is answered. Without bodies, but for those
# of Leases, which tell who led when.
# Left out: what the control plane asks itself, and health checks.
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - level: None
    users: ["system:apiserver", "system:kube-controller-manager"]
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/metrics"]
  - level: Request
    verbs: ["create", "update"]
    resources: [{group: coordination.k8s.io, resources: ["leases"]}]
    omitStages: ["RequestReceived", "ResponseStarted"]
  - level: Metadata
    verbs: ["watch"]
    omitStages: ["RequestReceived", "ResponseComplete"]
  - level: Metadata
    omitStages: ["RequestReceived", "ResponseStarted"]
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each file of a control plane is."""

    directory: Path

    @property
    def audit_log(self) -> Path:
        """What the API server was asked."""
        return self.directory / "audit.log"

    @property
    def audit_policy(self) -> Path:
        """What of it is written down."""
        return self.directory / "audit-policy.yaml"

    @property
    def certificates(self) -> Path:
        """Where the API server signs its own serving certificate."""
        return self.directory / "certificates"

    @property
    def ca_file(self) -> Path:
        """The serving certificate and the authority that signed it."""
        return self.certificates / "apiserver.crt"

    @property
    def key_file(self) -> Path:
        """The key of the serving certificate."""
        return self.certificates / "apiserver.key"

    @property
    def signing_key(self) -> Path:
        """The key behind the tokens of ServiceAccounts."""
        return self.directory / "service-accounts.key"

    @property
    def user_tokens(self) -> Path:
        """The tokens of the test identities."""
        return self.directory / "tokens.csv"

    @property
    def kubeconfigs(self) -> Path:
        """The folder of all kubeconfigs."""
        return self.directory / "kubeconfigs"

    def kubeconfig(self, name: str) -> Path:
        """Return the kubeconfig of one identity."""
        return self.kubeconfigs / f"{name.replace(':', '-')}.yaml"

    def log(self, program: str) -> Path:
        """Return where a program's output goes."""
        return self.directory / f"{program}.log"


def etcd(program: Path, layout: Layout, port: int) -> list[str]:
    """Return etcd's command line; nobody but the API server needs it, and its data may be lost with the machine."""
    return [
        str(program),
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls=http://{LOOPBACK}:{port}",
        f"--advertise-client-urls=http://{LOOPBACK}:{port}",
        f"--listen-peer-urls=http://{LOOPBACK}:0",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(program: Path, layout: Layout, port: int, etcd_port: int, extra: Sequence[str]) -> list[str]:
    """
    Return the API server's command line.

    Left off: the ServiceAccount admission plug-in, which refuses Pods made by hand until the namespace's default
    account exists, and the endpoints of the `kubernetes` Service, which may not be loopback addresses.
    """
    return [
        str(program),
        f"--etcd-servers=http://{LOOPBACK}:{etcd_port}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",  # or it would look for an address of this machine, which may have none
        f"--secure-port={port}",
        f"--cert-dir={layout.certificates}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={layout.user_tokens}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={layout.signing_key}",
        f"--service-account-signing-key-file={layout.signing_key}",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--endpoint-reconciler-type=none",
        "--allow-privileged=true",
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=100000",  # MB; at the default of 100 the file would be renamed under its readers
        *extra,
    ]


def controller_manager(program: Path, layout: Layout, kubeconfig: Path) -> list[str]:
    """Return the controller-manager's command line: only the controllers that tests lean on, no server of its own."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(CONTROLLERS)}",
        f"--service-account-private-key-file={layout.signing_key}",
        "--leader-elect=false",
        "--secure-port=0",
    ]

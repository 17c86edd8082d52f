"""
Where the API server is and who we are there, by kubeconfig or from inside a Pod.

The `kubernetes` package reads the configuration (contexts, token files, exec plugins, certificates); this module only
decides which one, and turns its errors into one line with a remedy.
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from virtualservice_operator.kube.errors import ConfigurationError

_HOME_CONFIG: Final = Path("~/.kube/config")


@dataclass(frozen=True, slots=True)
class Connection:
    """One reading of the configuration. `token` is the whole Authorization header, or None."""

    server: str
    ca_file: str | None
    certificate: tuple[str, str | None] | None
    token: str | None
    verify: bool = True

    def tls(self) -> ssl.SSLContext:
        """Return how to speak TLS with this server."""
        context = ssl.create_default_context(cafile=self.ca_file)
        # Python 3.13 refuses certificates that clusters still use (no key identifier); Go's clients take them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True)
class Source:
    """Which configuration to read: a file and a context, or None for the usual places."""

    kubeconfig: str | None = None
    context: str | None = None

    async def load(self) -> Connection:
        """
        Read the configuration, now: tokens rotate, so this is called again after a 401.

        Order: the given file, $KUBECONFIG, the Pod's own account, ~/.kube/config.
        Errors: `ConfigurationError` with the remedy.
        """
        target = Configuration()
        path = self.kubeconfig or os.environ.get("KUBECONFIG")
        try:
            if path is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                kube_config.load_incluster_config(target, try_refresh_token=False)
            else:
                await kube_config.load_kube_config(
                    _existing(path), self.context, client_configuration=target, persist_config=False
                )
        except (kube_config.ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, AttributeError) as error:
            where = path or "the Pod's service account"
            raise ConfigurationError(f"{where} cannot be used as a kubeconfig: {error}") from error
        return _connection(target)


def _existing(path: str | None) -> str:
    """Return a list of kubeconfig files of which at least one exists."""
    wanted = path or str(_HOME_CONFIG.expanduser())
    if not any(Path(part).expanduser().is_file() for part in wanted.split(os.pathsep) if part):
        raise ConfigurationError(
            f"there is no kubeconfig at {wanted}; name one with --kubeconfig or KUBECONFIG, or run inside a Pod"
        )
    return wanted


def _connection(loaded: Any) -> Connection:
    return Connection(
        server=loaded.host.rstrip("/"),
        ca_file=loaded.ssl_ca_cert,
        certificate=(loaded.cert_file, loaded.key_file) if loaded.cert_file else None,
        token=loaded.api_key.get("BearerToken"),
        verify=loaded.verify_ssl,
    )

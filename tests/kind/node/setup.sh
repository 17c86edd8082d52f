#!/bin/bash
# Runs inside the node's root file system, once. Arguments: the pause image's name, the archive of the images.
# The first part is what kind's own Dockerfile does after its packages; the second unpacks the images into containerd,
# so that a cluster starts without pulling and without unpacking.
set -euo pipefail
pause=$1 images=$2

ln -sfn /usr/bin/containerd /usr/local/bin/containerd
ln -sfn /usr/bin/containerd-shim-runc-v2 /usr/local/bin/containerd-shim-runc-v2
ln -sfn /usr/bin/ctr /usr/local/bin/ctr
ln -sfn /usr/lib/cni /opt/cni/bin

find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/{multi-user,local-fs,basic}.target.wants/* /etc/systemd/system/*.wants/*
rm -f /lib/systemd/system/sockets.target.wants/*{udev,initctl}* /lib/systemd/system/containerd.service
echo ReadKMsg=no >>/etc/systemd/journald.conf
systemctl enable --quiet kubelet.service containerd.service undo-mount-hacks.service
systemctl mask --quiet systemd-binfmt.service

ctr oci spec |
    jq '.hooks.createContainer[0] = {path: "/kind/bin/mount-product-files.sh"} | del(.process.rlimits)' \
        >/etc/containerd/cri-base.json
# A nested sandbox lets no process lower its out-of-memory score.
sed -i -e "s#sandbox_image = .*#sandbox_image = \"$pause\"#" \
    -e 's#restrict_oom_score_adj = false#restrict_oom_score_adj = true#' /etc/containerd/config.toml

# Nothing of CRI yet: it would want a network, and this is only to import.
cat >/run/import.toml <<'TOML'
version = 2
root = "/var/lib/containerd"
state = "/run/import-state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/import.sock"
TOML
containerd --config /run/import.toml --log-level warn &
server=$!
for ((tries = 0; tries < 100; tries++)); do
    ctr --address /run/import.sock version >/dev/null 2>&1 && break
    sleep 0.2
done
ctr --address /run/import.sock --namespace k8s.io images import --snapshotter overlayfs "$images"
ctr --address /run/import.sock --namespace k8s.io content prune references # the packed layers: half the size
kill "$server"
wait "$server" || true

rm -rf /run/import* "$images" /var/lib/dbus/machine-id /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
rm -rf /usr/share/{doc,man,locale}/* /var/log/*
: >/etc/machine-id

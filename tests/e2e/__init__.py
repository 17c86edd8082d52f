"""The operator as a user installs it: an image, `kubectl apply -k`, a kind cluster with real Pods."""

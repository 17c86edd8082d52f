"""A Kubernetes operator that routes each developer's requests to their own copies of Services."""

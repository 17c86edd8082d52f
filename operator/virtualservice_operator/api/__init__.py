"""The contract: the RoutingPolicy resource, its conditions and reasons, and the names the operator uses."""

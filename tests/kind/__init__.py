"""A real kind cluster for the tests, on any machine: with the official images, or with images made here from source."""

"""`make bench`: counts and times against a bare client that sends the same requests."""

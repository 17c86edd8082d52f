"""Where kopf and the informers meet the core: events in, requests out. The only part with an event loop of its own."""

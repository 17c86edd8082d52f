"""
Templates of policies: text that can shape a VirtualService and can harm nobody.

    syntax, environment    Jinja2 with an allow-list, bounded operations and fuel
    guard                  YAML without what YAML is abused for
    worker, lockdown       a child process with limits, in which all of the above runs
    process, renderer      the operator's side: deadline, restart, cache, quarantine

The worker's modules import nothing of the operator, so that the process is small and starts quickly.
"""

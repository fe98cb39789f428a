"""One file for each resource, and the list of them."""

from services.api.routes import (
    accounts,
    aliases,
    audit,
    dkim,
    doctor,
    domains,
    imports,
    keys,
    parked,
    quarantine,
    queues,
    recoverable,
    scripts,
    self_service,
    settings,
    tenants,
    trace,
)

RESOURCES = (
    tenants.router,
    domains.router,
    doctor.router,
    dkim.router,
    accounts.router,
    scripts.router,
    recoverable.router,
    aliases.router,
    imports.router,
    self_service.router,
    keys.router,
    quarantine.router,
    queues.router,
    parked.router,
    trace.router,
    settings.router,
    audit.router,
)
"""In the order of the documentation."""

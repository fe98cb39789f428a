"""Tests, and the servers, chaos and bench programs that are run by hand as well."""

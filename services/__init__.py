"""The roles, one folder each, and the command line; roles never import each other."""

"""Being here puts this folder on the import path: tests import their fakes as `support.…`."""

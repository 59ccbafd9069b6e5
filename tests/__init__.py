"""The tests; a package of its own, because a library installs a package named tests too."""

"""OCI images, from a folder on the disk or from a registry, flattened into one root file system.

Everything is read by this package itself: no daemon, no root, and nothing is unpacked on the host.
"""

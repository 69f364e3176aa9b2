"""The program that runs inside a sandbox. Standard library only; imports nothing of Aegis.

`wire.py` holds the frames that both ends speak (docs/guest-protocol.md); the host imports that module too.
"""

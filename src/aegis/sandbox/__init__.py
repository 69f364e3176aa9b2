"""Fresh machines for trials: the contract, the drivers that fulfil it, their images, and the program inside them.

Public names stand in `aegis.sandbox.base` (the contract), `aegis.sandbox.select` (`open_driver`) and
`aegis.sandbox.images` (`ImageStore`, `boot_files`). Drivers live in `qemu/` and `process.py`.
"""

"""Driver `qemu`: microVMs of `qemu-system-*`, with KVM or HVF where a probe boots, in software (TCG) elsewhere.

Public names: `QemuDriver` (driver.py), `probe` (probe.py).
"""

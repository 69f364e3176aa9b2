# First program of the KVM host, as a shell takes in orphans like an init: the steps, then the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 NO_COLOR=1
export PYTHONPATH=/srv/checkout/src AEGIS_CACHE_DIR=/srv/cache
export AEGIS_PROBE_TIMEOUT_S=120 # KVM itself is emulated here

hostname kvm-host
# What udev does on a Debian host: users other than root reach KVM through a group.
echo 'kvm:x:105:' >> /etc/group
chgrp kvm /dev/kvm
chmod 660 /dev/kvm
# Waiting actively for a machine's next interrupt costs more here than the interrupt.
echo 0 > /sys/module/kvm/parameters/halt_poll_ns
# A host's cache is written by whoever runs Aegis; here root and another user do.
mkdir -p /srv/cache/templates /srv/cache/locks /srv/cache/tmp
chmod 1777 /srv/cache /srv/cache/templates /srv/cache/locks /srv/cache/tmp

# So that whoever looks from outside can tell a step that hangs from a machine that stands still.
while sleep 10; do echo 'payload: alive'; done &
# Not a terminal, for which Aegis would draw a moving display.
python3 /srv/checkout/tests/nested/inside/steps.py 2>&1 | cat
sync
# reboot(LINUX_REBOOT_CMD_POWER_OFF): there is no init to ask.
exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'

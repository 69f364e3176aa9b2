# First program of the KVM host, as a shell takes in orphans like an init: the steps, then the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 NO_COLOR=1
export PYTHONPATH=/srv/checkout/src AEGIS_CACHE_DIR=/srv/cache
export AEGIS_PROBE_TIMEOUT_S=120 # KVM itself is emulated here

hostname kvm-host
# What udev does on a Debian host: users other than root reach KVM through a group.
echo 'kvm:x:105:' >> /etc/group
chgrp kvm /dev/kvm
chmod 660 /dev/kvm
# A host's cache is written by whoever runs Aegis; here root and another user do.
mkdir -p /srv/cache/templates /srv/cache/locks /srv/cache/tmp
chmod 1777 /srv/cache /srv/cache/templates /srv/cache/locks /srv/cache/tmp

# Ends in powering off; this shell's own end would be a panic, which ends the machine too.
python3 /srv/checkout/tests/nested/inside/steps.py

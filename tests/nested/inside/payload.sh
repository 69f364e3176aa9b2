# Runs as the first program of the KVM host: the checks, then their results over the serial port, then the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export PYTHONPATH=/srv/checkout/src:/srv/checkout/tests AEGIS_CACHE_DIR=/srv/cache
# KVM itself is emulated here.
export AEGIS_PROBE_TIMEOUT_S=120
hostname kvm-host
# As udev does it on a Debian host.
echo 'kvm:x:105:' >> /etc/group
chgrp kvm /dev/kvm
chmod 660 /dev/kvm
if [ -f /srv/checkout/tests/nested/inside/experiment.sh ]; then . /srv/checkout/tests/nested/inside/experiment.sh; fi
python3 /srv/checkout/tests/nested/inside/steps.py

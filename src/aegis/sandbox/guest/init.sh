#!/bin/busybox sh
# First program of the machine: loads the drivers, mounts the guest's own root, and becomes its PID 1.
# Runs from the initial memory file system, which switch_root empties.

export PATH=/bin

stop() {
    echo "init: $1" >&2
    poweroff -f
}

load() {
    while read -r module; do
        insmod "/modules/$module" || stop "cannot load $module"
    done < "$1"
}

mount -t devtmpfs -o mode=0755,nosuid devtmpfs /dev
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys

load /modules/order

# 0x0013 is a virtio socket: there on Firecracker, absent on QEMU, where its drivers would only take memory.
for device in /sys/bus/virtio/devices/*/device; do
    read -r id < "$device"
    if [ "$id" = 0x0013 ]; then load /modules/order-vsock; fi
done

tries=0
until [ -b /dev/vda ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || stop "no root drive"
    sleep 0.05
done

mount -t squashfs -o ro /dev/vda /root || stop "cannot mount the root drive"
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /root/run
for tree in dev proc sys; do
    mount -o move "/$tree" "/root/$tree"
done

exec switch_root /root /usr/bin/python3 -I -S -B /guest/main.py

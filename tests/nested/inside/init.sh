#!/bin/busybox sh
# First program of the KVM host: drivers, drives with room to write over them, then the payload.
# Drives in order: the system, the checkout, the image cache.

export PATH=/bin

stop() {
    echo "init: $1"
    poweroff -f
}

# FOLDER becomes the read-only DRIVE with a layer in memory that takes what is written.
layer() {
    drive=$1 folder=$2 name=${1#/dev/}
    tries=0
    until [ -b "$drive" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || stop "no drive $drive"
        sleep 0.02
    done
    mkdir -p "/layers/$name/lower" "/layers/$name/upper" "/layers/$name/work" "$folder"
    mount -t squashfs -o ro "$drive" "/layers/$name/lower" || stop "cannot mount $drive"
    mount -t overlay -o "lowerdir=/layers/$name/lower,upperdir=/layers/$name/upper,workdir=/layers/$name/work" \
        overlay "$folder" || stop "cannot mount $folder"
}

mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
while read -r module; do
    insmod "/modules/$module" || stop "cannot load $module"
done < /modules/order

# Larger than the memory: Aegis wants room on the disk that these checks never fill.
mount -t tmpfs -o size=8g tmpfs /layers
layer /dev/vda /root
layer /dev/vdb /root/srv/checkout
layer /dev/vdc /root/srv/cache
mount -t tmpfs -o mode=1777 tmpfs /root/tmp
mount -t tmpfs -o mode=0755 tmpfs /root/run
for tree in dev proc sys; do
    mount -o move "/$tree" "/root/$tree"
done
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
mount -t devpts devpts /root/dev/pts

# A shell as the first program: it takes in orphans, as an init does.
exec switch_root /root /bin/sh /srv/checkout/tests/nested/inside/payload.sh

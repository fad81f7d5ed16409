#!/usr/bin/busybox sh
# First process of the guest: mounts, modules, network; then confide.enclave.guest.boot does the rest.
# When that ends, for whatever reason, so does the machine.
export PATH=/usr/bin
busybox mount -t proc proc /proc
busybox --install -s /usr/bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
for module in $(cat /modules/order); do insmod "/modules/$module.ko"; done
mount -t configfs configfs /sys/kernel/config 2>/dev/null
mount -t tmpfs -o size=90%,mode=0700 tmpfs /image
mount -t virtiofs confide-data /data 2>/dev/null
echo 0 >/proc/sys/kernel/sysrq  # else the host has the kernel speak, over the serial line
ip link set lo up
for card in /sys/class/net/e*; do
  [ -e "$card" ] && ip link set "${card##*/}" up && udhcpc -q -n -t 5 -i "${card##*/}" -s /usr/bin/dhcp >/dev/null 2>&1
done
# The root that the kernel unpacked cannot be left by pivot_root, which confines the workload: a view of it can.
mount --bind / /root
for folder in proc sys dev image data; do mount --move /$folder /root/$folder; done
cd /root && mount --move . / && chroot . /usr/bin/boot
poweroff -f

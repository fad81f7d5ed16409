#!/usr/bin/busybox sh
# What the network's server said, put into effect. Nothing of it is trusted: brokers are known by what the image pins.
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
for gateway in $router; do ip route add default via "$gateway" dev "$interface"; done
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf

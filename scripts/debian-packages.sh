#!/bin/sh
# Install a Debian package in the image: from packages/debian, where `make wheels` has put it with all that it
# needs, else from the mirror.
set -eu
export DEBIAN_FRONTEND=noninteractive
here=$(dirname "$0")/debian/$1
if [ -d "$here" ]; then
  apt-get install --no-install-recommends --yes --quiet=2 "$here"/*.deb >/dev/null
else
  apt-get update --quiet=2
  apt-get install --no-install-recommends --yes --quiet=2 "$1" >/dev/null
fi
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old

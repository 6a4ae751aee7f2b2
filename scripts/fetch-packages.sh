#!/bin/sh
# Run by `make wheels` in the base image: fill /packages with all that a build of PROFILE needs, Debian packages
# and wheels, so that it needs no network. Usage: fetch-packages.sh PROFILE UID:GID
set -eu
profile=$1 owner=$2
apt-get update --quiet=2
for name in python3 python3-venv; do
  rm -rf "/packages/debian/$name"
  mkdir -p "/packages/debian/$name/partial"
  apt-get install --download-only --no-install-recommends --yes --quiet=2 \
    -o "Dir::Cache::archives=/packages/debian/$name" -o APT::Sandbox::User=root "$name" >/dev/null
  rm -rf "/packages/debian/$name/partial" "/packages/debian/$name/lock"
done
/scripts/debian-packages.sh python3-venv
python3 -m venv /tmp/venv
mkdir -p "/packages/$profile"
/tmp/venv/bin/pip download --quiet --no-deps --require-hashes --only-binary :all: \
  -r "/locks/$profile.txt" -d "/packages/$profile"
chown -R "$owner" /packages/debian "/packages/$profile"

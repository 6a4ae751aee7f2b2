#!/bin/bash
# The container's first process: it does nothing and waits for `docker exec`. On `docker stop` it asks every command
# that runs to end as Ctrl-C would (an embed finishes the batch in hand and writes it), and waits for them.
others() {
  local found
  for found in /proc/[0-9]*/stat; do
    found=${found#/proc/}
    [[ ${found%/stat} == 1 ]] || [[ ${found%/stat} == "$sleeper" ]] || return 0
  done
  return 1
}

stop() {
  trap '' TERM INT
  kill -TERM -1 2>/dev/null
  while others; do
    read -rt 0.1 <> <(:)
  done
  exit 0
}

trap stop TERM INT
echo "face-organizer is up: docker exec face-organizer face-organizer --help"
while :; do
  sleep infinity &
  sleeper=$!
  wait "$sleeper"
done

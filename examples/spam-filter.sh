#!/bin/sh
# Gives every new message of an account to a command, one at a time on its stdin. With a spam filter and a program
# that stores what comes out:
#
#   spam-filter.sh work sh -c 'spamc | maildrop'
#
# The account needs a config as usual; its `deliver` is not used here. Choose `delete: 30d` for it, or never: popfetch
# is done with a message once it is written to stdout, and cannot know what the filter makes of it. When the command
# fails, this stops and keeps the message in a file, whose name it prints.
#
# A filter that takes many messages at once is given all of them as one mbox:
#
#   popfetch fetch --account work --stdout --format mboxrd | formail -s procmail
set -eu
umask 077

if [ $# -lt 2 ]; then
  echo "usage: $0 ACCOUNT COMMAND [ARGUMENT...]" >&2
  exit 64
fi
account=$1
shift

message=$(mktemp "${TMPDIR:-/tmp}/popfetch-message.XXXXXX")
while :; do
  popfetch fetch --quiet --account "$account" --stdout --format raw --limit 1 >"$message"
  [ -s "$message" ] || break
  if ! "$@" <"$message"; then
    echo "$0: $1 failed; the message is in $message" >&2
    exit 75
  fi
done
rm -f "$message"

#!/bin/sh
# The whole loop in a scratch repository: two agents want one thread, one gets it, works,
# and hands it over. Leaves nothing behind.
#
# git-heddle is built and taken from this checkout, unless HEDDLE_BIN names the folder of
# one that is built already.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${HEDDLE_BIN:-}" ]; then
    cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml"
    HEDDLE_BIN=${CARGO_TARGET_DIR:-$here/target}/release
fi
PATH=$HEDDLE_BIN:$PATH
export PATH
unset HEDDLE_SESSION HEDDLE_TOKEN HEDDLE_REQUEST_TOKEN

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# Shows a command, runs it, and shows its exit code if it is not 0.
show() {
    printf '$ %s\n' "$*"
    "$@" || printf '[exit %d]\n' "$?"
}

# One text field of a JSON document on standard input.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

git init -q -b main .
git config user.name 'A. Person'
git config user.email person@example.com
echo 'name, then password' >login.txt
git add login.txt
git commit -q -m 'Start'

echo '# An agent reserves a thread.'
printf '$ git heddle agent reserve --thread fix/login --task "fix the login form"\n'
git heddle agent reserve --thread fix/login --task 'fix the login form' >reserved.json
sed 's/"reservation_token":"[^"]*"/"reservation_token":"(secret)"/' reserved.json
HEDDLE_SESSION=$(sed 's/,.*//' reserved.json | field session_id)
mv reserved.json .git/reserved.json

echo '# A second one collides, and is told why.'
show git heddle agent reserve --thread fix/login --task 'the same idea' 2>&1

echo '# The first one works: a sign of life, a commit, a check, the end.'
export HEDDLE_SESSION
show git heddle agent heartbeat --progress 'found the cause'
echo 'password, then name' >login.txt
show git heddle agent capture -m 'Check the password first' --confidence 0.9
show git heddle agent ready
show git heddle agent release

echo '# What is left: a commit on a ref, and who made it.'
show git heddle thread list
show git log -1 --format=%B refs/heddle/threads/fix/login

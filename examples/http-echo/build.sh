#!/usr/bin/env bash
# Build hashicorp/http-echo:latest (default) or fabiolb/fabio from Trine's own binary, without any registry.
#
#   examples/http-echo/build.sh [IMAGE[:TAG]]        TRINE=path/to/trine to use a binary that is already built
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
image="${1:-hashicorp/http-echo:latest}"
case "$image" in
  *:*) ;;
  *) image="$image:latest" ;;
esac
case "${image%:*}" in
  hashicorp/http-echo | */http-echo | http-echo) name=http-echo ;;
  fabiolb/fabio | */fabio | fabio) name=fabio ;;
  *)
    echo "build.sh: \"$image\" is neither an http-echo nor a fabio image; give hashicorp/http-echo or fabiolb/fabio" >&2
    exit 1
    ;;
esac

command -v docker >/dev/null || {
  echo "build.sh: no docker client on the PATH; install one, or run the jobs in jobs/, which need no containers" >&2
  exit 1
}
if [ -z "${TRINE:-}" ]; then
  (cd "$here/../.." && cargo build --release)
  TRINE="$here/../../target/release/trine"
fi
[ -x "$TRINE" ] || {
  echo "build.sh: TRINE=$TRINE is not an executable file" >&2
  exit 1
}

context="$(mktemp -d)"
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/root/tmp" "$context/root/etc"
cp "$TRINE" "$context/root/trine"
# The name it is called by decides what the binary does, so that every image has its own entry.
# Both names are in both images, because the classic builder does not see a link that changed.
ln -s trine "$context/root/http-echo"
ln -s trine "$context/root/fabio"
echo 'nobody:x:65534:65534:nobody:/:/trine' >"$context/root/etc/passwd"

# Shared libraries and the loader, at the places the binary looks for them. A static binary has none.
{ ldd "$TRINE" 2>/dev/null || true; } | grep -o '/[^ ]*' | sort -u | while read -r library; do
  mkdir -p "$context/root$(dirname "$library")"
  cp -L "$library" "$context/root$library"
done
sed "s|/entrypoint|/$name|" "$here/Dockerfile" >"$context/Dockerfile"
docker build --quiet --tag "$image" "$context"

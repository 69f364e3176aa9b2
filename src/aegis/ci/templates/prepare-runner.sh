# Virtual machines need a few Debian packages, and the right to use hardware virtualisation where there is some.
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
packages=(ca-certificates mmdebstrap qemu-system-x86 skopeo squashfs-tools uidmap util-linux)
debian=$(. /etc/os-release && echo "$ID")
[ "$debian" = debian ] || packages+=(debian-archive-keyring python-apt-common)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
if [ "$debian" != debian ]; then
  # The machines run Debian, whatever this runner runs.
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  known=/usr/share/python-apt/templates/Debian.info # where Debian's packages are
  mirror=${AEGIS_DEBIAN_MIRROR:-$(sed -n '\|^BaseURI: .*/debian/\?$|{s/^BaseURI: //p;q}' "$known")}
  echo "deb [signed-by=$keyring] $mirror bookworm main" > "$RUNNER_TEMP/aegis-sources.list"
  echo "AEGIS_APT_SOURCES=$RUNNER_TEMP/aegis-sources.list" >> "$GITHUB_ENV"
fi
if [ "$(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null)" = 1 ]; then
  # Ubuntu 24.04 keeps user namespaces from whoever is not root; images are built in one.
  as_root sysctl -q -w kernel.apparmor_restrict_unprivileged_userns=0
fi
if [ -e /dev/kvm ] && { [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; }; then
  echo 'KERNEL=="kvm", GROUP="kvm", MODE="0666", OPTIONS+="static_node=kvm"' |
    as_root tee /etc/udev/rules.d/99-aegis-kvm.rules > /dev/null
  as_root udevadm control --reload-rules
  as_root udevadm trigger --name-match=kvm
  as_root udevadm settle --timeout=10 || true
fi

// What an SSH server says of its machine before anybody logs in: its identification line. Pure.
// Source: RFC 4253, 4.2; what distributions append to OpenSSH's version.

export interface SshGreeting {
  /** `OpenSSH_9.2p1 Debian-2+deb12u3`. */
  readonly software: string;
  /** `Debian 12`, `Raspberry Pi OS`, `Windows`; undefined: it does not tell. */
  readonly operatingSystem: string | undefined;
}

/** Undefined: this is no SSH server. */
export function readGreeting(line: string): SshGreeting | undefined {
  const match = /^SSH-(?:2\.0|1\.99)-([\x20-\x7e]+)$/.exec(line.trimEnd());
  if (match === null) return undefined;
  const software = (match[1] ?? '').trim();
  return { software, operatingSystem: systemOf(software) };
}

/** Of OpenSSH's versions and Debian's and Ubuntu's releases, which they go with. */
const ubuntuReleases: Readonly<Record<string, string>> = {
  '8.2p1': '20.04',
  '8.9p1': '22.04',
  '9.6p1': '24.04',
};

function systemOf(software: string): string | undefined {
  if (software.startsWith('OpenSSH_for_Windows')) return 'Windows';
  if (/Raspbian/.test(software)) return 'Raspberry Pi OS';
  const debian = /Debian-\S*\+deb(\d+)u/.exec(software);
  if (debian !== null) return `Debian ${debian[1]}`;
  if (/Debian/.test(software)) return 'Debian';
  const ubuntu = /^OpenSSH_(\S+) Ubuntu/.exec(software);
  if (ubuntu !== null) {
    const release = ubuntuReleases[ubuntu[1] ?? ''];
    return release === undefined ? 'Ubuntu' : `Ubuntu ${release}`;
  }
  if (/^dropbear/i.test(software)) return 'a small system (Dropbear)';
  return undefined;
}

// The two ways in for a browser. On this machine plain HTTP on loopback, since browsers don't trust our CA; from the
// home's other devices HTTPS, with a certificate of the home's own authority. What differs is here; what is asked of
// a request at either is the server's.
import { isIPv4 } from 'node:net';
import { homePageName, isHomePageName } from '#kube/machinery/home-page.ts';
import type { KeyPairPem } from '#platform/certificate.ts';

export interface Door {
  readonly scheme: 'http' | 'https';
  /** Whether a page of this host, with its port, can be ours: others were led here by their DNS. */
  readonly isServed: (host: string) => boolean;
  /** For who asks for another host. */
  readonly elsewhere: string;
  /** The flag that moves it. */
  readonly flag: string;
  /** Of HTTPS. */
  readonly certificate?: KeyPairPem;
}

const loopbackHost = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

export const loopbackDoor: Door = {
  scheme: 'http',
  isServed: (host) => loopbackHost.test(host),
  elsewhere: 'This address is not served here: open http://127.0.0.1 instead.\n',
  flag: '--ui-port',
};

/** By its name or by an address as digits, which no DNS can lead astray. */
export function homeDoor(certificate: KeyPairPem): Door {
  return {
    scheme: 'https',
    isServed(host) {
      const name = host.replace(/:\d+$/, '');
      return isHomePageName(name) || isIPv4(name);
    },
    elsewhere: `This address is not served here: open https://${homePageName} with the same port instead.\n`,
    flag: '--ui-port',
    certificate,
  };
}

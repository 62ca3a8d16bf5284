// Where phones and computers of the home come to trust the certificates of its apps: a page, and the root in the
// forms that each system takes. On plain HTTP, since nothing else is trusted yet; so the page shows a fingerprint
// that kubectl shows, too.
import { X509Certificate } from 'node:crypto';
import { generate } from 'lean-qr';
import { toSvgSource } from 'lean-qr/extras/svg';
import { permittedDomains } from '#platform/apps-authority.ts';
import type { FileAnswer } from '../answers.ts';
import { profileOf } from './profile.ts';
import { trustPage } from './page.ts';
import { trustPath } from './paths.ts';

export interface TrustAsked {
  readonly path: string;
  /** As it was asked for, with its port. */
  readonly host: string;
  readonly userAgent: string;
}

/** Undefined: there is no such file. */
export function trustAnswer(rootPem: string, asked: TrustAsked): FileAnswer | undefined {
  const root = new X509Certificate(rootPem);
  switch (asked.path.slice(trustPath.length)) {
    case '':
      return { type: 'text/html; charset=utf-8', body: pageOf(root, asked) };
    case '/flotilla-apps.crt':
      return file('application/x-x509-ca-cert', 'flotilla-apps.crt', root.raw);
    case '/flotilla-apps.pem':
      return file('application/x-pem-file', 'flotilla-apps.pem', root.toString());
    case '/flotilla-apps.mobileconfig':
      // Safari asks whether to install it, unless it is told to keep it.
      return { type: 'application/x-apple-aspen-config', body: profileOf(root) };
    default:
      return undefined;
  }
}

function file(type: string, fileName: string, body: string | Buffer): FileAnswer {
  return { type, fileName, body };
}

function pageOf(root: X509Certificate, { host, userAgent }: TrustAsked): string {
  const isPlain = /^[a-z0-9.-]+(?::\d+)?$|^\[[0-9a-f:]+\](?::\d+)?$/i.test(host);
  const address = `http://${host}${trustPath}`;
  return trustPage({
    folder: trustPath,
    address: isPlain ? address : undefined,
    qr: isPlain ? qrOf(address) : undefined,
    fingerprint: root.fingerprint256,
    domains: permittedDomains(root),
    validTo: new Date(root.validTo).toISOString().slice(0, 10),
    userAgent,
  });
}

function qrOf(text: string): string {
  const options = { xmlDeclaration: false, on: '#1b2423', pad: 3 } as const;
  return toSvgSource(generate(text), options);
}

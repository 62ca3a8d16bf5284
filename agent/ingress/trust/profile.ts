// The root as a configuration profile of Apple's systems. Its identifiers come from the certificate: a second
// download takes the first one's place. Source: Apple, "Device Management: CertificateRoot".
import type { X509Certificate } from 'node:crypto';

export function profileOf(root: X509Certificate): string {
  const mark = root.fingerprint256.replaceAll(':', '');
  const name = /CN=(.*)/.exec(root.subject)?.[1] ?? 'Flotilla apps';
  const certificate = dictionary({
    PayloadCertificateFileName: 'flotilla-apps.crt',
    PayloadContent: root.raw,
    PayloadDescription: 'Lets this device trust the apps of this home, and nothing else.',
    PayloadDisplayName: name,
    PayloadIdentifier: `dev.flotilla.apps.${mark.slice(0, 16).toLowerCase()}.root`,
    PayloadType: 'com.apple.security.root',
    PayloadUUID: uuidOf(mark.slice(32)),
    PayloadVersion: 1,
  });
  const profile = dictionary({
    PayloadContent: [certificate],
    PayloadDescription: 'Lets this device trust the apps of this home, and nothing else.',
    PayloadDisplayName: `${name} (this home)`,
    PayloadIdentifier: `dev.flotilla.apps.${mark.slice(0, 16).toLowerCase()}`,
    PayloadRemovalDisallowed: false,
    PayloadType: 'Configuration',
    PayloadUUID: uuidOf(mark),
    PayloadVersion: 1,
  });
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
${profile}
</plist>
`;
}

type Value = string | number | boolean | Buffer | readonly string[];

/** Lists hold what is XML already. */
function dictionary(entries: Readonly<Record<string, Value>>): string {
  const lines = Object.entries(entries).map(([key, value]) => `<key>${key}</key>${xmlOf(value)}`);
  return `<dict>\n${lines.join('\n')}\n</dict>`;
}

function xmlOf(value: Value): string {
  if (typeof value === 'number') return `<integer>${value}</integer>`;
  if (typeof value === 'boolean') return value ? '<true/>' : '<false/>';
  if (Buffer.isBuffer(value)) return `<data>${value.toString('base64')}</data>`;
  if (typeof value === 'string')
    return `<string>${value.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</string>`;
  return `<array>${value.join('')}</array>`;
}

function uuidOf(hex: string): string {
  const [, ...parts] = /^(.{8})(.{4})(.{4})(.{4})(.{12})/.exec(hex) ?? [];
  return parts.join('-');
}

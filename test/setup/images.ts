// Container images for tests, made here without any registry: a web server out of a static busybox.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/**
 * Serves "hello from <host name>" at /cgi-bin/whoami on port 8080 and logs each request. Ends at
 * once on SIGTERM, which busybox' httpd as a container's first process would not hear.
 */
export const webImage = 'flotilla-test/web:4';
const serve = "trap 'exit 0' TERM; httpd -f -vv -p 8080 -h /www & wait $!";

/** Imports the test images into Docker, if they aren't there. */
export function ensureTestImages(): void {
  const images = execFileSync('docker', ['images', '-q', webImage], { encoding: 'utf8' });
  if (images.trim() !== '') return;
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-image-'));
  try {
    writeRootFileSystem(folder);
    const tar = execFileSync('tar', ['-C', folder, '-c', '.'], { maxBuffer: 64 * 1024 * 1024 });
    const changes = ['ENV PATH=/bin', `CMD ${JSON.stringify(['sh', '-c', serve])}`];
    const args = ['import', ...changes.flatMap((change) => ['--change', change]), '-', webImage];
    execFileSync('docker', args, { input: tar, stdio: ['pipe', 'ignore', 'inherit'] });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A tar file for `docker load` on another engine. */
export function savedTestImage(): Buffer {
  ensureTestImages();
  return execFileSync('docker', ['save', webImage], { maxBuffer: 64 * 1024 * 1024 });
}

function writeRootFileSystem(folder: string): void {
  for (const name of ['bin', 'tmp', 'etc', 'www/cgi-bin'])
    mkdirSync(path.join(folder, name), { recursive: true });
  copyFileSync('/bin/busybox', path.join(folder, 'bin/busybox'));
  for (const tool of [
    'sh',
    'httpd',
    'hostname',
    'sleep',
    'echo',
    'cat',
    'ls',
    'env',
    'wget',
    'yes',
    'head',
    'kill',
    'date',
    'true',
    'false',
    'tar',
    'sha256sum',
    'stty',
    'nc',
    'ps',
  ])
    symlinkSync('busybox', path.join(folder, 'bin', tool));
  writeFileSync(path.join(folder, 'www/index.html'), '<h1>hello</h1>\n');
  const script =
    '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\nhello from %s\\n" "$(hostname)"\n';
  writeFileSync(path.join(folder, 'www/cgi-bin/whoami'), script);
  chmodSync(path.join(folder, 'www/cgi-bin/whoami'), 0o755);
}

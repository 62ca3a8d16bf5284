// An image registry of one image on this machine, which may let in only who knows its password: enough
// of the distribution API (v2) for `docker pull`. Docker takes plain HTTP from 127.0.0.1.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { arch, tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const manifestType = 'application/vnd.docker.distribution.manifest.v2+json';

export interface RegistryOptions {
  /** A slow line for the layer. */
  readonly bytesPerSecond?: number;
  /** Of the image: `amd64`; left out: this machine's. */
  readonly architecture?: string;
  /** Anybody may have it. */
  readonly isOpen?: boolean;
  /** Makes the image another one. */
  readonly label?: string;
}

export class ImageRegistry {
  readonly username = 'me';
  readonly password = 'let: me in';
  readonly #server: Server;
  /** By digest. */
  readonly #blobs = new Map<string, Buffer>();
  #manifest = Buffer.alloc(0);
  readonly #options: RegistryOptions;
  #layerDigest = '';
  manifestRequests = 0;
  layerRequests = 0;

  constructor(options: RegistryOptions = {}) {
    this.#options = options;
    const token = Buffer.from(`${this.username}:${this.password}`).toString('base64');
    this.#server = createServer((request, response) => {
      const isOpen = options.isOpen === true;
      if (!isOpen && request.headers.authorization !== `Basic ${token}`) {
        const headers = { 'www-authenticate': 'Basic realm="test"' };
        response.writeHead(401, headers).end('{"errors":[{"code":"UNAUTHORIZED"}]}');
      } else this.#answer(request.url ?? '', response);
    });
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A busybox with `sh`. */
  get image(): string {
    return `${this.host}/private/busybox:1`;
  }

  async start(): Promise<this> {
    this.#manifest = this.#makeImage();
    await new Promise<void>((resolve) => void this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #answer(url: string, response: ServerResponse): void {
    if (url === '/v2/') return void response.end('{}');
    const digest = /\/blobs\/(sha256:[0-9a-f]+)$/.exec(url)?.[1];
    const isManifest = url.includes('/manifests/');
    if (isManifest) this.manifestRequests++;
    if (digest === this.#layerDigest) this.layerRequests++;
    if (isManifest && !url.includes('/private/busybox/'))
      return void response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
    const body = isManifest ? this.#manifest : this.#blobs.get(digest ?? '');
    if (body === undefined) return void response.writeHead(404).end('{"errors":[]}');
    response.setHeader('content-type', isManifest ? manifestType : 'application/octet-stream');
    response.setHeader('content-length', body.length);
    response.setHeader('docker-content-digest', digestOf(body));
    const { bytesPerSecond } = this.#options;
    if (bytesPerSecond === undefined || isManifest) return void response.end(body);
    void this.#trickle(body, response, bytesPerSecond / 20);
  }

  async #trickle(body: Buffer, response: ServerResponse, chunkBytes: number): Promise<void> {
    for (let at = 0; at < body.length && !response.destroyed; at += chunkBytes) {
      response.write(body.subarray(at, at + chunkBytes));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    response.end();
  }

  #makeImage(): Buffer<ArrayBuffer> {
    const tar = busyboxTar();
    const layer = gzipSync(tar);
    this.#layerDigest = digestOf(layer);
    const config = JSON.stringify({
      architecture: this.#options.architecture ?? (arch() === 'arm64' ? 'arm64' : 'amd64'),
      os: 'linux',
      // Each registry's image is one of its own.
      config: { Env: ['PATH=/bin', `REGISTRY=${this.#options.label ?? ''}`], Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    });
    const manifest = {
      schemaVersion: 2,
      mediaType: manifestType,
      config: this.#blob('application/vnd.docker.container.image.v1+json', Buffer.from(config)),
      layers: [this.#blob('application/vnd.docker.image.rootfs.diff.tar.gzip', layer)],
    };
    return Buffer.from(JSON.stringify(manifest));
  }

  #blob(mediaType: string, body: Buffer): object {
    const digest = digestOf(body);
    this.#blobs.set(digest, body);
    return { mediaType, size: body.length, digest };
  }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function busyboxTar(): Buffer {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-registry-'));
  try {
    mkdirSync(path.join(folder, 'bin'));
    copyFileSync('/bin/busybox', path.join(folder, 'bin/busybox'));
    for (const name of ['sh', 'sleep', 'echo'])
      symlinkSync('busybox', path.join(folder, 'bin', name));
    return execFileSync('tar', ['-C', folder, '-c', '.'], { maxBuffer: 64 * 1024 * 1024 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

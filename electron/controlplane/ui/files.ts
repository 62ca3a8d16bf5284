// The renderer's files: read once, kept with an ETag, hashed ones cacheable for good. Any path that
// names no file and looks like a page of the app gets index.html, since the app routes by itself.
// Nothing outside its folder can be reached.
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { extname, join, resolve, sep } from 'node:path';
import type { ApiRequest, ApiResponse } from '../apiserver/http.ts';
import { textResponse } from '../apiserver/status-response.ts';

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.map': 'application/json',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
};

interface KeptFile {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly modifiedMs: number;
}

export class UiFiles {
  readonly #root: string;
  readonly #kept = new Map<string, KeptFile>();

  constructor(directory: string) {
    this.#root = resolve(directory);
  }

  async answer(request: Pick<ApiRequest, 'path' | 'method' | 'headers'>): Promise<ApiResponse> {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return textResponse(405, 'only GET and HEAD here\n');
    const path = this.#resolve(request.path);
    if (path === undefined) return textResponse(404, 'there is no such page\n');
    const file = await this.#read(path);
    if (file !== undefined) return this.#send(path, file, request);
    // A page of the app has no ending; a missing script must not be answered with a page.
    if (extname(path) !== '') return textResponse(404, 'there is no such file\n');
    const indexPath = join(this.#root, 'index.html');
    const index = await this.#read(indexPath);
    if (index !== undefined) return this.#send(indexPath, index, request);
    return textResponse(503, 'The user interface has not been built: run `npm start`.\n');
  }

  #send(path: string, file: KeptFile, request: Pick<ApiRequest, 'headers'>): ApiResponse {
    const isHashed = path.startsWith(join(this.#root, 'assets') + sep);
    const headers = {
      'content-type': contentTypes[extname(path)] ?? 'application/octet-stream',
      etag: file.etag,
      'cache-control': isHashed ? 'public, max-age=31536000, immutable' : 'no-cache',
    };
    const isKnown = request.headers['if-none-match']?.includes(file.etag) === true;
    return isKnown ? { status: 304, headers } : { status: 200, headers, body: file.bytes };
  }

  #resolve(urlPath: string): string | undefined {
    let decoded: string;
    try {
      decoded = decodeURIComponent(urlPath);
    } catch {
      return undefined;
    }
    if (decoded.includes('\0') || decoded.includes('\\')) return undefined;
    const path = resolve(this.#root, `.${decoded === '/' ? '/index.html' : decoded}`);
    return path.startsWith(this.#root + sep) ? path : undefined;
  }

  /** Undefined when it is no file. Read again when it changed on disk (a new build). */
  async #read(path: string): Promise<KeptFile | undefined> {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || !found.isFile()) return undefined;
    const kept = this.#kept.get(path);
    if (kept !== undefined && kept.modifiedMs === found.mtimeMs) return kept;
    const bytes = new Uint8Array(await readFile(path));
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
    const file = { bytes, etag, modifiedMs: found.mtimeMs };
    this.#kept.set(path, file);
    return file;
  }
}

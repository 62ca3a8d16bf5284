import { describe, expect, it } from 'vitest';
import { isAmbiguousPath, requestHeaders, responseHeaders } from './headers.ts';

const client = { address: '192.168.1.7', isTls: true, port: 443 };

describe('headers of a request', () => {
  it('lose what is for one connection, and what a client says of itself', () => {
    const raw = ['Host', 'x.local', 'Connection', 'close, X-Hop, Cookie', 'X-Hop', '1'];
    raw.push('Cookie', 'a=b', 'TE', 'trailers', 'Expect', '100-continue', 'Upgrade', 'h2c');
    raw.push('Transfer-Encoding', 'chunked', 'X-Forwarded-For', '6.6.6.6', 'x-real-ip', '6.6.6.6');
    const passed = requestHeaders(raw, client);
    expect(passed.slice(0, 4)).toEqual(['Host', 'x.local', 'Cookie', 'a=b']);
    expect(passed.slice(4, 8)).toEqual([
      'X-Forwarded-For',
      '192.168.1.7',
      'X-Real-IP',
      '192.168.1.7',
    ]);
    expect(passed.slice(8)).toEqual([
      'X-Forwarded-Host',
      'x.local',
      'X-Forwarded-Port',
      '443',
      'X-Forwarded-Proto',
      'https',
    ]);
  });
});

describe('headers of an answer', () => {
  it('keep their order, repetitions and letters', () => {
    const raw = ['Set-Cookie', 'a', 'X-b', '1', 'Set-Cookie', 'c', 'Keep-Alive', 'timeout=5'];
    expect(responseHeaders(raw)).toEqual(['Set-Cookie', 'a', 'X-b', '1', 'Set-Cookie', 'c']);
  });
});

describe('a path', () => {
  it('with dot segments is ambiguous, with dots in names it is not', () => {
    const paths = ['/..', '/a/./b', '/%2E%2e/', '/a/.%2e', '\\..\\', '/..;x'];
    expect(paths.filter((path) => !isAmbiguousPath(path))).toEqual([]);
    const plain = ['/', '/a.b/c..d', '/.well-known/x', '/...', '/a/.hidden', '/v1.2/..x'];
    expect(plain.filter(isAmbiguousPath)).toEqual([]);
  });
});

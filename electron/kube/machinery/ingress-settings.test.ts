import { describe, expect, it } from 'vitest';
import { settingsOf } from './ingress-settings.ts';

const read = (annotations: Record<string, string>) => settingsOf(annotations);

describe('annotations', () => {
  it('are not needed', () => {
    expect(read({ other: 'x' })).toEqual({
      settings: {
        bodyBytesMax: undefined,
        idleMs: 300_000,
        redirectsToTls: false,
        protocol: 'http',
      },
      mistakes: [],
    });
  });

  it('are understood as ingress-nginx means them; ours go before', () => {
    const nginx = 'nginx.ingress.kubernetes.io';
    const { settings, mistakes } = read({
      [`${nginx}/proxy-body-size`]: '8m',
      [`${nginx}/proxy-read-timeout`]: '3600',
      'ingress.flotilla.dev/proxy-read-timeout': '10',
      [`${nginx}/force-ssl-redirect`]: 'true',
      [`${nginx}/backend-protocol`]: 'HTTPS',
    });
    expect([settings, mistakes]).toEqual([
      { bodyBytesMax: 8 * 1024 * 1024, idleMs: 10_000, redirectsToTls: true, protocol: 'https' },
      [],
    ]);
  });

  it('that can’t be understood are told, and the default holds', () => {
    const { settings, mistakes } = read({
      'ingress.flotilla.dev/proxy-body-size': 'lots',
      'ingress.flotilla.dev/proxy-read-timeout': '-1',
      'ingress.flotilla.dev/backend-protocol': 'GRPC',
    });
    expect([settings.bodyBytesMax, settings.idleMs, settings.protocol]).toEqual([
      undefined,
      300_000,
      'http',
    ]);
    expect(mistakes).toEqual([
      'The annotation ingress.flotilla.dev/proxy-body-size can\'t be understood: "lots". Write a size such as 100m.',
      'The annotation ingress.flotilla.dev/proxy-read-timeout can\'t be understood: "-1". Write seconds such as 60.',
      'The annotation ingress.flotilla.dev/backend-protocol can\'t be understood: "GRPC". Write HTTP or HTTPS.',
    ]);
  });

  it('of a body without bound, and in whole units', () => {
    const sizes = ['0', '512', '10K', '1g', '2mb'].map(
      (text) => read({ 'ingress.flotilla.dev/proxy-body-size': text }).settings.bodyBytesMax,
    );
    expect(sizes).toEqual([undefined, 512, 10_240, 1024 ** 3, 2 * 1024 * 1024]);
  });
});

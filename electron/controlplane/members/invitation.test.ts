import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { ClusterPki } from '#platform/pki.ts';
import { acceptInvitation, formatInvitation, parseInvitation } from './invitation.ts';

describe('an invitation', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'flotilla-invitation-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function written(): Promise<{ file: string; text: string }> {
    const directory = path.join(folder, 'first/pki');
    const pki = await ClusterPki.open({
      directory,
      clock: new ManualClock(),
      random: systemRandom,
    });
    writeFileSync((await pki.secretKeys()).file, 'new\nold\n');
    const text = formatInvitation({
      clusterId: 'c',
      name: 'pi',
      address: '10.0.0.2:7450',
      ca: pki.ca,
      peer: pki.newPeer(),
      tokenKeyPem: await pki.tokenKey(),
      secretKeys: (await pki.secretKeys()).text,
      members: [],
    });
    const file = path.join(folder, 'pi.invitation');
    writeFileSync(file, text);
    return { file, text };
  }

  it('hands over the keys of tokens and of secrets, rotated ones too', async () => {
    const { file } = await written();
    await acceptInvitation(file, path.join(folder, 'second'));
    const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8');
    expect(read('second/pki/secrets.key')).toBe('new\nold\n');
    expect(read('second/pki/sa.key')).toBe(read('first/pki/sa.key'));
  });

  it('without the keys of secrets is refused', async () => {
    const { secretKeys: _, ...rest } = JSON.parse((await written()).text) as { secretKeys: string };
    expect(() => parseInvitation(JSON.stringify(rest), 'F')).toThrow('F is no invitation');
  });
});

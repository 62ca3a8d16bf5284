import { expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import type { CommandResult } from '../proxy/system.ts';
import { lanLinks, type LanLink } from './lan-link.ts';

const link: LanLink = { device: 'lo', mac: '', isUp: true, networks: ['127.0.0.1/8'], extra: [] };
const ok = (stdout = ''): CommandResult => ({ exitCode: 0, stdout, stderr: '' });
const failed = (stderr: string): CommandResult => ({ exitCode: 2, stdout: '', stderr });

/** `forgotten`: what the kernel says when it is to forget what it knew. */
async function whoHas(forgotten: CommandResult): Promise<string | undefined> {
  const known = ok('[{"dst":"127.0.0.9","lladdr":"02:00:00:00:00:02","state":["REACHABLE"]}]');
  const run = async (_: string, args: readonly string[]) =>
    args.includes('del') ? forgotten : known;
  return lanLinks({ run }, new ManualClock()).whoHas('127.0.0.9', link);
}

it('who has an address is asked anew: what the kernel knew before is forgotten, if it knew anything', async () => {
  expect(await whoHas(ok())).toBe('02:00:00:00:00:02');
  expect(await whoHas(failed('RTNETLINK answers: No such file or directory\n'))).toBe(
    '02:00:00:00:00:02',
  );
});

it.each(['RTNETLINK answers: Operation not permitted', 'Cannot find device "lo"'])(
  'is not answered from before when it can’t be forgotten: %s',
  async (words) => {
    await expect(whoHas(failed(words))).rejects.toThrow(words);
  },
);
